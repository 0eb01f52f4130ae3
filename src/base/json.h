/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_JSON_H
#define COHUE_BASE_JSON_H

#include "base/bytes.h"

/*
 * Reads JSON (RFC 8259) of strangers: strict, without recursion, and with no memory of its own. A text is checked as a whole, once;
 * values are views into it, found by walking. Every function below but the two checks wants such a checked text, or a view of one.
 */

enum { JSON_DEPTH_MAX = 32 };

enum json_kind {
	JSON_NOTHING,
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_STRING,
	JSON_NUMBER,
	JSON_TRUE,
	JSON_FALSE,
	JSON_NULL
};

/* ERR_FORMAT: not one value in JSON and UTF-8, or a name twice is not looked for; ERR_LIMIT: nested deeper than JSON_DEPTH_MAX. */
COHUE_MUST_USE enum err json_check(struct bytes text);
/* The same where what strings say may be no UTF-8: for answers that carry what somebody wrote, of which only our own words are read. */
COHUE_MUST_USE enum err json_check_octets(struct bytes text);
/* JSON_NOTHING of an empty view. */
enum json_kind json_kind(struct bytes value);
/* The value of that name (compared as it is written, without escapes; the first of several); an empty view where there is none. */
struct bytes json_member(struct bytes object, const char *name);
/*
 * The elements of an array, or the values of an object, one after the other: *at is 0 at first. An empty view behind the last one, and
 * for what is neither.
 */
struct bytes json_next(struct bytes container, size_t *at);
/* Appends what a string says. ERR_FORMAT: no string, or it holds U+0000 or half a surrogate pair. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err json_string(struct bytes value, struct buf *out);
/* A string's octets as they are written between its quotes, escapes and all; of a number, true, false and null its own. */
struct bytes json_written(struct bytes value);
/* True where it is a string that says exactly this (plain ASCII), written without escapes. */
bool json_is(struct bytes value, const char *text);

#endif
