/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_lane.h"

#include "mail/header.h"

enum {
	VALUE_MAX = 200, /* octets of a priority field: more is none */
	/* RFC 6758 and the MIXER profile (RFC 6710 appendix): "urgent" is 4, "non-urgent" is -4. */
	PRIORITY_URGENT = 4,
	PRIORITY_PATIENT = -4,
};

const char *const submission_lane_fields[] = {"X-Priority", "X-MSMail-Priority", "Importance",
					      "Priority",   "MT-Priority",       NULL};

/* "1 (Highest)": the number in front; 0 where there is none. */
static int
leading_digit(struct bytes value)
{
	bool alone = value.len == 1 || (value.len > 1 && !ascii_is_digit(value.ptr[1]));
	return alone && ascii_is_digit(value.ptr[0]) ? value.ptr[0] - '0' : 0;
}

static bool
lane_of_number(int level, enum law_lane *ret)
{
	if (level < 1 || level > 5) {
		return false;
	}
	*ret = level < 3 ? LAW_URGENT : level > 3 ? LAW_PATIENT : LAW_NORMAL;
	return true;
}

static bool
lane_of_words(struct bytes value, const char *urgent, const char *normal, const char *patient,
	      enum law_lane *ret)
{
	if (bytes_is_nocase(value, urgent)) {
		*ret = LAW_URGENT;
	} else if (bytes_is_nocase(value, normal)) {
		*ret = LAW_NORMAL;
	} else if (bytes_is_nocase(value, patient)) {
		*ret = LAW_PATIENT;
	} else {
		return false;
	}
	return true;
}

/* -9 to 9, as MT-PRIORITY. */
static bool
lane_of_mt(struct bytes value, enum law_lane *ret)
{
	bool negative = value.len > 1 && value.ptr[0] == '-';
	struct bytes digit = bytes_from(value, negative ? 1 : 0);
	if (digit.len != 1 || !ascii_is_digit(digit.ptr[0])) {
		return false;
	}
	int n = (digit.ptr[0] - '0') * (negative ? -1 : 1);
	*ret = n >= PRIORITY_URGENT ? LAW_URGENT : n <= PRIORITY_PATIENT ? LAW_PATIENT : LAW_NORMAL;
	return true;
}

static bool
lane_of_field(const struct mail_field *f, enum law_lane *ret)
{
	struct buf text = BUF_INIT(VALUE_MAX);
	bool found = false;
	if (mail_unfold(f->value, &text) != ERR_OK) {
		buf_clear(&text);
		return false;
	}
	struct bytes value = buf_bytes(&text);
	if (bytes_is_nocase(f->name, "X-Priority")) {
		found = lane_of_number(leading_digit(value), ret);
	} else if (bytes_is_nocase(f->name, "Importance") || bytes_is_nocase(f->name, "X-MSMail-Priority")) {
		found = lane_of_words(value, "high", "normal", "low", ret);
	} else if (bytes_is_nocase(f->name, "Priority")) {
		found = lane_of_words(value, "urgent", "normal", "non-urgent", ret);
	} else if (bytes_is_nocase(f->name, "MT-Priority")) {
		found = lane_of_mt(value, ret);
	}
	buf_clear(&text);
	return found;
}

/* The first field that says something; programs write several that agree. */
static enum law_lane
lane_of_header(struct bytes message, enum law_lane usual)
{
	struct mail_fields it;
	struct mail_field f;
	enum law_lane lane = usual;
	mail_fields_init(&it, message);
	while (mail_fields_next(&it, &f)) {
		if (lane_of_field(&f, &lane)) {
			return lane;
		}
	}
	return usual;
}

struct submission_lane
submission_lane(const struct smtp_mail *mail, struct bytes message, enum law_lane usual)
{
	struct submission_lane r = {.lane = LAW_NORMAL};
	if (mail->hold > 1 && usual == LAW_PATIENT) {
		/* A time of her choice says more than her usual lane: patient is then only who asks for both. */
		usual = LAW_NORMAL;
	}
	if (mail->hold == 1) {
		r.lane = LAW_URGENT;
	} else if (mail->has_priority) {
		r.lane = mail->priority >= PRIORITY_URGENT    ? LAW_URGENT
			 : mail->priority <= PRIORITY_PATIENT ? LAW_PATIENT
							      : LAW_NORMAL;
	} else {
		r.lane = lane_of_header(message, usual);
	}
	r.hold = mail->hold > 1 ? (msec)mail->hold * MSEC_SECOND : 0;
	return r;
}
