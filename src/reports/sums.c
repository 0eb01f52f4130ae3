/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The sums as octets, so that they outlive a process. */
#include <string.h>

#include "base/wire.h"
#include "reports/report.h"

enum { SUMS_VERSION = 1 };

/* Of a fixed number and order. */
enum { NUMBERS = 10 };

static void
numbers_of(struct report_sums *s, uint64_t *ret[NUMBERS])
{
	uint64_t *const all[NUMBERS] = {&s->dmarc_reports, &s->pass,        &s->fail,     &s->quarantined,
					&s->rejected,      &s->tls_reports, &s->tls_good, &s->tls_bad,
					&s->unread,        &s->unproved};
	memcpy(ret, all, sizeof(all));
}

enum err
report_sums_write(const struct report_sums *sums, struct buf *out)
{
	struct report_sums s = *sums;
	struct wire_writer w;
	uint64_t *numbers[NUMBERS];
	numbers_of(&s, numbers);
	wire_writer_init(&w, out);
	wire_put_u8(&w, SUMS_VERSION);
	for (size_t i = 0; i < NUMBERS; i++) {
		wire_put_u64(&w, *numbers[i]);
	}
	for (size_t i = 0; i < REPORT_TLS__COUNT; i++) {
		wire_put_u64(&w, s.tls_results[i]);
	}
	for (size_t i = 0; i < REPORT_COMPLAINT__COUNT; i++) {
		wire_put_u64(&w, s.complaints[i]);
	}
	wire_put_u8(&w, (uint8_t)s.source_count);
	for (size_t i = 0; i < s.source_count; i++) {
		wire_put_bytes(&w, bytes_str(s.sources[i].net));
		wire_put_u64(&w, s.sources[i].pass);
		wire_put_u64(&w, s.sources[i].fail);
	}
	return wire_done(&w);
}

enum err
report_sums_read(struct bytes octets, struct report_sums *ret)
{
	struct report_sums s;
	struct wire_reader r;
	uint64_t *numbers[NUMBERS];
	memset(&s, 0, sizeof(s));
	numbers_of(&s, numbers);
	wire_reader_init(&r, octets);
	if (wire_get_u8(&r) != SUMS_VERSION) {
		return r.error == ERR_OK ? ERR_UNSUPPORTED : ERR_FORMAT;
	}
	for (size_t i = 0; i < NUMBERS; i++) {
		*numbers[i] = wire_get_u64(&r);
	}
	for (size_t i = 0; i < REPORT_TLS__COUNT; i++) {
		s.tls_results[i] = wire_get_u64(&r);
	}
	for (size_t i = 0; i < REPORT_COMPLAINT__COUNT; i++) {
		s.complaints[i] = wire_get_u64(&r);
	}
	s.source_count = wire_get_u8(&r);
	if (s.source_count > REPORT_SOURCES_MAX) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < s.source_count && r.error == ERR_OK; i++) {
		struct bytes net = wire_get_bytes(&r, REPORT_NET_MAX - 1);
		if (net.len > 0) {
			memcpy(s.sources[i].net, net.ptr, net.len);
		}
		s.sources[i].pass = wire_get_u64(&r);
		s.sources[i].fail = wire_get_u64(&r);
	}
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = s;
	}
	return e;
}
