"""How the process of a domain is made: the fork servers, the child, its walls, its program."""
