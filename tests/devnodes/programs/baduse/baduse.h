/* The parts of baduse: attempts at one node each, and what is given to all of them. */
#ifndef BADUSE_H
#define BADUSE_H

#include "nodes.h"

/* A domid; references of it: writable, read-only, for another domain; a port of it that waits for
 * another domain. */
extern unsigned peer, good, readonly, alien, port;

void evtchn(void);
void gntdev(void);
void gntalloc(void);
void privcmd(void);
void threads(void);
void descriptors(char **argv);
void after_exec(char **argv);

#endif
