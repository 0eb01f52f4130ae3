/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/question.h"

const char *
authentication_result_name(enum authentication_result result)
{
	switch (result) {
	case AUTHENTICATION_NONE:
		return "none";
	case AUTHENTICATION_PASS:
		return "pass";
	case AUTHENTICATION_FAIL:
		return "fail";
	case AUTHENTICATION_SOFTFAIL:
		return "softfail";
	case AUTHENTICATION_NEUTRAL:
		return "neutral";
	case AUTHENTICATION_POLICY:
		return "policy";
	case AUTHENTICATION_TEMPERROR:
		return "temperror";
	case AUTHENTICATION_PERMERROR:
		return "permerror";
	}
	return "none";
}
