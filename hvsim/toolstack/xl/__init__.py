"""The xl commands, one verb in each module, with the texts and exit codes of xl 4.17."""
