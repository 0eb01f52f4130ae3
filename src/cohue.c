/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The one binary: `cohue run` is the supervisor, `cohue --role=NAME` one of its children, all else the CLI. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "courier/courier.h"
#include "crypto/crypto.h"
#include "fetcher/fetcher.h"
#include "gate_member/gate_member.h"
#include "gate_mx/gate_mx.h"
#include "keeper/keeper.h"
#include "mixer/mixer.h"
#include "opener/opener.h"
#include "process/role.h"
#include "resolver/resolver.h"
#include "session/session.h"
#include "store/store.h"
#include "supervisor/supervisor.h"

static const struct role_def *const roles[] = {
    &keeper_role,  &store_role,  &resolver_role, &fetcher_role,     &mixer_role,
    &courier_role, &opener_role, &session_role,  &gate_member_role, &gate_mx_role,
};

static int
run_role(const char *name)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(role_name(roles[i]->id), name) == 0) {
			return role_main(roles[i]);
		}
	}
	(void)fprintf(stderr, "cohue: there is no role '%s'\n", name);
	return 2;
}

int
main(int argc, char **argv)
{
	static const char flag[] = "--role=";
	if (crypto_init() != ERR_OK) {
		(void)fprintf(stderr, "cohue: the cryptographic library does not start\n");
		return 1;
	}
	if (argc == 2 && strncmp(argv[1], flag, sizeof(flag) - 1) == 0) {
		return run_role(argv[1] + sizeof(flag) - 1);
	}
	/* How it is run, the command line says with the other commands. */
	bool help = argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
	if (argc >= 2 && strcmp(argv[1], "run") == 0 && !help) {
		return supervisor_main(argc - 1, argv + 1);
	}
	return cli_main(argc, argv);
}
