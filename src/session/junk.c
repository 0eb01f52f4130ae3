/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/junk.h"

#include <math.h>
#include <string.h>

#include "base/wire.h"
#include "mail/address.h"

enum { VERSION = 1, SCORE_UNWANTED = 50, SCORE_SURE = 80, LEARNT_UNWANTED = 900, LEARNT_WANTED = 100 };

enum err
junk_decode(struct bytes encoded, struct junk_words *ret)
{
	struct wire_reader r;
	memset(ret, 0, sizeof(*ret));
	if (encoded.len == 0) {
		return ERR_OK;
	}
	wire_reader_init(&r, encoded);
	uint8_t version = wire_get_u8(&r);
	ret->unwanted = wire_get_u16(&r);
	ret->wanted = wire_get_u16(&r);
	while (r.error == ERR_OK && r.rest.len > 0 && ret->count < JUNK_TRAITS_MAX) {
		struct junk_trait *t = &ret->traits[ret->count];
		t->hash = wire_get_u32(&r);
		t->unwanted = wire_get_u16(&r);
		t->wanted = wire_get_u16(&r);
		if (ret->count > 0 && t->hash <= t[-1].hash) {
			return ERR_FORMAT;
		}
		ret->count++;
	}
	return version != VERSION ? ERR_FORMAT : wire_end(&r);
}

enum err
junk_encode(const struct junk_words *w, struct buf *out)
{
	struct wire_writer writer;
	wire_writer_init(&writer, out);
	wire_put_u8(&writer, VERSION);
	wire_put_u16(&writer, w->unwanted);
	wire_put_u16(&writer, w->wanted);
	for (size_t i = 0; i < w->count; i++) {
		wire_put_u32(&writer, w->traits[i].hash);
		wire_put_u16(&writer, w->traits[i].unwanted);
		wire_put_u16(&writer, w->traits[i].wanted);
	}
	return wire_done(&writer);
}

/* Index of the trait, or of the first one above it. */
static size_t
place_of(const struct junk_words *w, uint32_t hash)
{
	size_t low = 0;
	size_t high = w->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (w->traits[middle].hash < hash) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

static unsigned
seen(const struct junk_trait *t)
{
	return (unsigned)t->unwanted + t->wanted;
}

/* Forgets what was seen least, a quarter of all at least: not one by one. */
static void
forget(struct junk_words *w)
{
	unsigned least = 1;
	size_t gone = 0;
	while (gone < JUNK_TRAITS_MAX / 4) {
		size_t kept = 0;
		for (size_t i = 0; i < w->count; i++) {
			if (seen(&w->traits[i]) > least) {
				w->traits[kept++] = w->traits[i];
			}
		}
		gone += w->count - kept;
		w->count = kept;
		least = least * 2;
	}
}

static void
halve(struct junk_words *w)
{
	w->unwanted /= 2;
	w->wanted /= 2;
	for (size_t i = 0; i < w->count; i++) {
		w->traits[i].unwanted /= 2;
		w->traits[i].wanted /= 2;
	}
}

void
junk_learn(struct junk_words *w, const uint32_t *traits, size_t count, bool unwanted)
{
	if ((unwanted ? w->unwanted : w->wanted) >= JUNK_COUNT_MAX) {
		halve(w);
	}
	if (unwanted) {
		w->unwanted++;
	} else {
		w->wanted++;
	}
	for (size_t i = 0; i < count; i++) {
		size_t at = place_of(w, traits[i]);
		if (at == w->count || w->traits[at].hash != traits[i]) {
			if (w->count == JUNK_TRAITS_MAX) {
				forget(w);
				at = place_of(w, traits[i]);
			}
			memmove(&w->traits[at + 1], &w->traits[at], (w->count - at) * sizeof(w->traits[0]));
			w->traits[at] = (struct junk_trait){.hash = traits[i]};
			w->count++;
		}
		uint16_t *n = unwanted ? &w->traits[at].unwanted : &w->traits[at].wanted;
		*n = *n < UINT16_MAX ? (uint16_t)(*n + 1) : *n;
	}
}

/* How surely mail with this trait is unwanted: Robinson's f(w), with half a message of doubt. */
static double
share_of(const struct junk_words *w, const struct junk_trait *t)
{
	double bad = (double)t->unwanted / w->unwanted;
	double good = (double)t->wanted / w->wanted;
	double p = bad + good > 0 ? bad / (bad + good) : 0.5;
	double n = seen(t);
	return (0.5 * 0.5 + n * p) / (0.5 + n);
}

unsigned
junk_judge(const struct junk_words *w, const uint32_t *traits, size_t count)
{
	double telling[JUNK_TELLING];
	size_t n = 0;
	double sum = 0;
	if (w->unwanted < JUNK_LESSONS_MIN || w->wanted < JUNK_LESSONS_MIN) {
		return 500;
	}
	for (size_t i = 0; i < count; i++) {
		size_t at = place_of(w, traits[i]);
		if (at == w->count || w->traits[at].hash != traits[i]) {
			continue;
		}
		double p = share_of(w, &w->traits[at]);
		double logit = log(p / (1 - p));
		/* The list is kept by how much each says, the least first. */
		size_t place = 0;
		while (place < n && fabs(telling[place]) < fabs(logit)) {
			place++;
		}
		if (n < JUNK_TELLING) {
			memmove(&telling[place + 1], &telling[place], (n - place) * sizeof(telling[0]));
			telling[place] = logit;
			n++;
		} else if (place > 0) {
			memmove(&telling[0], &telling[1], (place - 1) * sizeof(telling[0]));
			telling[place - 1] = logit;
		}
	}
	for (size_t i = 0; i < n; i++) {
		sum += telling[i];
	}
	return (unsigned)lround(1000 / (1 + exp(-sum)));
}

static bool
is_separator(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == ';';
}

static bool
is_within(struct bytes domain, struct bytes parent)
{
	if (domain.len <= parent.len) {
		return bytes_equal_nocase(domain, parent);
	}
	size_t at = domain.len - parent.len;
	return domain.ptr[at - 1] == '.' && bytes_equal_nocase(bytes_from(domain, at), parent);
}

bool
junk_is_listed(struct bytes list, struct bytes local, struct bytes domain)
{
	size_t at = 0;
	while (at < list.len) {
		size_t from = at;
		while (at < list.len && !is_separator(list.ptr[at])) {
			at++;
		}
		struct bytes word = bytes_slice(list, from, at - from);
		ptrdiff_t sign = bytes_find_last(word, '@');
		struct bytes name = sign <= 0 ? BYTES_EMPTY : bytes_slice(word, 0, (size_t)sign);
		struct bytes where = bytes_from(word, (size_t)(sign + 1));
		struct buf normal = BUF_INIT(MAIL_DOMAIN_MAX);
		if (where.len > 0 && mail_domain_normalise(where, &normal) == ERR_OK) {
			where = buf_bytes(&normal);
		}
		bool listed = where.len > 0 && (name.len == 0 ? is_within(domain, where)
							      : bytes_equal_nocase(domain, where) &&
								    bytes_equal_nocase(local, name));
		buf_clear(&normal);
		if (listed) {
			return true;
		}
		at++;
	}
	return false;
}

bool
junk_decide(const struct junk_case *c)
{
	if (c->blocked) {
		return true;
	}
	/* A name that she wants to hear from helps nobody who only claims it. */
	if (c->ours || (c->allowed && c->genuine)) {
		return false;
	}
	if (c->set_apart || c->score >= SCORE_SURE || c->learnt >= LEARNT_UNWANTED) {
		return true;
	}
	return c->score >= SCORE_UNWANTED && c->learnt > LEARNT_WANTED;
}
