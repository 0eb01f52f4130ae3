/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The roles under test as processes of their own: `role_main --role=NAME`, started by rolehost.c. */
#include <string.h>

#include "courier/courier.h"
#include "crypto/crypto.h"
#include "keeper/keeper.h"
#include "mixer/mixer.h"
#include "process/role.h"
#include "store/store.h"

int
main(int argc, char **argv)
{
	static const struct role_def *const roles[] = {&keeper_role, &store_role, &mixer_role, &courier_role};
	static const char flag[] = "--role=";
	if (argc != 2 || strncmp(argv[1], flag, sizeof(flag) - 1) != 0 || crypto_init() != ERR_OK) {
		return 2;
	}
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(role_name(roles[i]->id), argv[1] + sizeof(flag) - 1) == 0) {
			return role_main(roles[i]);
		}
	}
	return 2;
}
