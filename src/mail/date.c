/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/calendar.h"
#include "mail/header.h"
#include "mail/lexer.h"

/*
 * Dates are read word by word: a word says by its form what it is, so that the
 * obsolete and the asctime order ("Wed Jul 10 22:40:31 2002") are read alike.
 */

struct parts {
	int day, month, year; /* -1 while unknown */
	int hour, minute, second;
	bool has_zone;
	int zone; /* minutes */
};

static const char *const month_names[12] = {"jan", "feb", "mar", "apr", "may", "jun",
					    "jul", "aug", "sep", "oct", "nov", "dec"};

static const struct {
	const char *name;
	int minutes;
} zones[] = {
    /* RFC 5322 §4.3; the single letters and unknown names count as -0000. */
    {"edt", -240}, {"est", -300}, {"cdt", -300}, {"cst", -360},
    {"mdt", -360}, {"mst", -420}, {"pdt", -420}, {"pst", -480},
};

static bool
number(struct bytes text, size_t min_len, size_t max_len, int *ret)
{
	uint64_t v;
	if (text.len < min_len || text.len > max_len || bytes_to_u64(text, 9999, &v) != ERR_OK) {
		return false;
	}
	*ret = (int)v;
	return true;
}

/* hh:mm, hh:mm:ss, and a fraction that is dropped. */
static bool
take_time(struct parts *p, struct bytes word)
{
	ptrdiff_t first = bytes_find(word, ':');
	struct bytes rest = bytes_from(word, (size_t)first + 1);
	ptrdiff_t second = bytes_find(rest, ':');
	struct bytes minute = second < 0 ? rest : bytes_slice(rest, 0, (size_t)second);
	struct bytes seconds = second < 0 ? BYTES_LIT("0") : bytes_from(rest, (size_t)second + 1);
	ptrdiff_t dot = bytes_find(seconds, '.');
	if (dot > 0) {
		seconds = bytes_slice(seconds, 0, (size_t)dot);
	}
	return p->hour < 0 && number(bytes_slice(word, 0, (size_t)first), 1, 2, &p->hour) &&
	       number(minute, 1, 2, &p->minute) && number(seconds, 1, 2, &p->second);
}

static bool
take_offset(struct parts *p, struct bytes word)
{
	int v;
	if (!number(bytes_from(word, 1), 4, 4, &v) || v % 100 > 59) {
		return false;
	}
	p->zone = v / 100 * 60 + v % 100;
	if (word.ptr[0] == '-') {
		p->zone = -p->zone;
	}
	p->has_zone = true;
	return true;
}

static bool
take_name(struct parts *p, struct bytes word)
{
	if (p->month < 0 && word.len >= 3) {
		for (int i = 0; i < 12; i++) {
			if (bytes_is_nocase(bytes_slice(word, 0, 3), month_names[i])) {
				p->month = i + 1;
				return true;
			}
		}
	}
	if (p->hour >= 0 && !p->has_zone) {
		for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
			if (bytes_is_nocase(word, zones[i].name)) {
				p->zone = zones[i].minutes;
			}
		}
		p->has_zone = true;
	}
	return true; /* a weekday, or a zone that nobody knows */
}

static bool
take_number(struct parts *p, struct bytes word)
{
	int v;
	if (p->day < 0 && word.len <= 2) {
		return number(word, 1, 2, &p->day);
	}
	if (p->year >= 0 || !number(word, 2, 4, &v)) {
		return false;
	}
	/* RFC 5322 §4.3 */
	if (word.len == 2) {
		v += v < 50 ? 2000 : 1900;
	} else if (word.len == 3) {
		v += 1900;
	}
	p->year = v;
	return true;
}

static bool
take_word(struct parts *p, struct bytes word)
{
	uint8_t c = word.ptr[0];
	if (bytes_find(word, ':') > 0) {
		/* "12:00:00+0200" without a blank */
		for (size_t i = 1; i < word.len; i++) {
			if (word.ptr[i] == '+' || word.ptr[i] == '-') {
				return take_time(p, bytes_slice(word, 0, i)) &&
				       take_offset(p, bytes_from(word, i));
			}
		}
		return take_time(p, word);
	}
	if (c == '+' || c == '-') {
		return p->hour < 0 || p->has_zone || take_offset(p, word);
	}
	if (ascii_is_alpha(c)) {
		return take_name(p, word);
	}
	return take_number(p, word);
}

static bool
is_valid(const struct parts *p)
{
	return p->year >= 1 && calendar_is_day(p->year, p->month, p->day) && p->hour >= 0 && p->hour <= 23 &&
	       p->minute <= 59 && p->second <= 60;
}

enum err
mail_date_parse(struct bytes value, struct mail_date *ret_date)
{
	struct parts p = {.day = -1, .month = -1, .year = -1, .hour = -1};
	struct mail_lexer x;
	mail_lexer_init(&x, value, ",;", false);
	for (int words = 0; words < 16; words++) {
		struct mail_token t = mail_lexer_next_word(&x);
		if (t.kind == MAIL_TOKEN_END) {
			break;
		}
		if (t.kind != MAIL_TOKEN_ATOM) {
			continue;
		}
		/* "10-Jul-2002": the hyphens part words, but not in the offset. */
		struct bytes word = t.text;
		while (word.len > 0 && ascii_is_digit(word.ptr[0]) && bytes_find(word, ':') < 0) {
			ptrdiff_t hyphen = bytes_find(word, '-');
			if (hyphen < 0) {
				break;
			}
			struct bytes head = bytes_slice(word, 0, (size_t)hyphen);
			word = bytes_from(word, (size_t)hyphen + 1);
			ptrdiff_t second = bytes_find(word, '-');
			struct bytes middle = bytes_slice(word, 0, second < 0 ? word.len : (size_t)second);
			word = bytes_from(word, middle.len + (second < 0 ? 0 : 1));
			if (middle.len == 0 || !take_word(&p, head) || !take_word(&p, middle)) {
				return ERR_FORMAT;
			}
		}
		if (word.len > 0 && !take_word(&p, word)) {
			return ERR_FORMAT;
		}
	}
	if (!is_valid(&p)) {
		return ERR_FORMAT;
	}
	ret_date->seconds = calendar_days(p.year, p.month, p.day) * 86400 + p.hour * 3600 + p.minute * 60 +
			    p.second - p.zone * 60;
	ret_date->offset_minutes = (int16_t)p.zone;
	return ERR_OK;
}

/* "dddd" at `at`, as long as the format wants it. */
static bool
digits(struct bytes text, size_t at, size_t count, int *ret)
{
	return text.len >= at + count && number(bytes_slice(text, at, count), count, count, ret);
}

/* "Z", "+hh:mm" or "-hh:mm" */
static bool
timestamp_zone(struct bytes text, int *ret_minutes)
{
	int hours = 0;
	int minutes = 0;
	*ret_minutes = 0;
	if (bytes_is_nocase(text, "Z")) {
		return true;
	}
	if (text.len != 6 || (text.ptr[0] != '+' && text.ptr[0] != '-') || text.ptr[3] != ':' ||
	    !digits(text, 1, 2, &hours) || !digits(text, 4, 2, &minutes) || hours > 23 || minutes > 59) {
		return false;
	}
	*ret_minutes = (hours * 60 + minutes) * (text.ptr[0] == '-' ? -1 : 1);
	return true;
}

enum err
mail_timestamp_parse(struct bytes text, int64_t *ret_seconds)
{
	struct parts p = {.day = -1, .month = -1, .year = -1, .hour = -1};
	size_t at = 19;
	bool fine = digits(text, 0, 4, &p.year) && digits(text, 5, 2, &p.month) &&
		    digits(text, 8, 2, &p.day) && digits(text, 11, 2, &p.hour) &&
		    digits(text, 14, 2, &p.minute) && digits(text, 17, 2, &p.second) && text.ptr[4] == '-' &&
		    text.ptr[7] == '-' && (text.ptr[10] == 'T' || text.ptr[10] == 't') &&
		    text.ptr[13] == ':' && text.ptr[16] == ':';
	if (!fine || !is_valid(&p)) {
		return ERR_FORMAT;
	}
	if (text.len > at && text.ptr[at] == '.') {
		for (at++; at < text.len && ascii_is_digit(text.ptr[at]); at++) {
		}
		fine = at > 20;
	}
	if (!fine || !timestamp_zone(bytes_from(text, at), &p.zone)) {
		return ERR_FORMAT;
	}
	*ret_seconds = calendar_days(p.year, p.month, p.day) * 86400 + p.hour * 3600 + p.minute * 60 +
		       p.second - p.zone * 60;
	return ERR_OK;
}
