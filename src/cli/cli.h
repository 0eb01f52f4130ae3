/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_CLI_H
#define COHUE_CLI_CLI_H

/* Exit statuses of every command, as cohue(1) says. */
enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1, /* the thing asked for was not done, or a check found damage */
	CLI_USAGE = 2,  /* the command line is not understood */
};

/*
 * What a volunteer types: all commands but `run`. Messages go to standard error, results to standard output. Returns
 * an enum cli_status.
 */
int cli_main(int argc, char **argv);

#endif
