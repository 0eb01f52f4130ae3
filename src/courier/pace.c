/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/pace.h"

#include <string.h>

#include "base/bytes.h"

enum { CODE_CLOSING = 421, CODE_FIRST = 450, CODE_LAST = 452 };

static bool
speaks_of(const char *text, const char *word)
{
	size_t len = strlen(word);
	struct bytes all = bytes_str(text);
	for (size_t i = 0; i + len <= all.len; i++) {
		if (bytes_is_nocase(bytes_slice(all, i, len), word)) {
			return true;
		}
	}
	return false;
}

bool
pace_is_slower(const struct smtp_result *said, bool fresh)
{
	/* RFC 3463: a system that takes nothing now, congestion; a policy (7.28: a flood, others as their owners number them). */
	static const char *const statuses[] = {"4.3.2", "4.4.5"};
	if (said->local || speaks_of(said->text, "greylist") || speaks_of(said->text, "graylist")) {
		return false;
	}
	if (said->code == CODE_CLOSING && fresh) {
		return true;
	}
	if (said->code != CODE_CLOSING && (said->code < CODE_FIRST || said->code > CODE_LAST)) {
		return false;
	}
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (strcmp(said->status, statuses[i]) == 0) {
			return true;
		}
	}
	return strncmp(said->status, "4.7.", 4) == 0 &&
	       (said->code == CODE_CLOSING || strcmp(said->status, "4.7.1") != 0);
}

/* Its place, or NULL. */
static const struct pace_host *
find(const struct pace *p, const uint8_t address[16], msec now)
{
	for (size_t i = 0; i < PACE_HOSTS; i++) {
		const struct pace_host *h = &p->hosts[i];
		if (h->steps > 0 && memcmp(h->address, address, sizeof(h->address)) == 0) {
			return now - h->until < PACE_FORGET_MS ? h : NULL;
		}
	}
	return NULL;
}

/* Its place, else an empty one, else the one whose pause ended first. */
static struct pace_host *
place_of(struct pace *p, const uint8_t address[16], msec now)
{
	struct pace_host *best = &p->hosts[0];
	for (size_t i = 0; i < PACE_HOSTS; i++) {
		struct pace_host *h = &p->hosts[i];
		if (h->steps > 0 && memcmp(h->address, address, sizeof(h->address)) == 0) {
			best = h;
			break;
		}
		if (best->steps > 0 && (h->steps == 0 || h->until < best->until)) {
			best = h;
		}
	}
	if (best->steps == 0 || memcmp(best->address, address, sizeof(best->address)) != 0 ||
	    now - best->until >= PACE_FORGET_MS) {
		*best = (struct pace_host){.steps = 0};
		memcpy(best->address, address, sizeof(best->address));
	}
	return best;
}

void
pace_slower(struct pace *p, const uint8_t address[16], const struct smtp_result *why, uint32_t random,
	    msec now)
{
	if (pace_pauses(p, address, now) != NULL) {
		return;
	}
	struct pace_host *h = place_of(p, address, now);
	h->steps += h->steps < PACE_STEPS_MAX ? 1 : 0;
	msec pause = PACE_FIRST_MS << (h->steps - 1);
	h->until = now + pause + (msec)((uint64_t)(pause / 4) * random >> 32);
	h->why = *why;
}

void
pace_took(struct pace *p, const uint8_t address[16], msec now)
{
	for (size_t i = 0; i < PACE_HOSTS; i++) {
		struct pace_host *h = &p->hosts[i];
		/* What was under way when it asked for a pause says nothing of afterwards. */
		if (h->steps > 0 && memcmp(h->address, address, sizeof(h->address)) == 0 && h->until <= now) {
			h->steps /= 2;
			return;
		}
	}
}

const struct smtp_result *
pace_pauses(const struct pace *p, const uint8_t address[16], msec now)
{
	const struct pace_host *h = find(p, address, now);
	return h != NULL && h->until > now ? &h->why : NULL;
}

unsigned
pace_connections(const struct pace *p, const uint8_t address[16], unsigned most, msec now)
{
	return find(p, address, now) == NULL ? most : 1;
}
