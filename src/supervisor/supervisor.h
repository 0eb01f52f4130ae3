/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SUPERVISOR_SUPERVISOR_H
#define COHUE_SUPERVISOR_SUPERVISOR_H

/*
 * `cohue run`: argv[0] is "run". Serves in the foreground until SIGTERM or SIGINT.
 * Exit status: 0 stopped as asked, 1 could not start or go on (one line says why), 2 wrong usage.
 */
int supervisor_main(int argc, char **argv);

#endif
