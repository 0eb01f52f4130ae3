/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/messages.h"

#include <string.h>

#include "base/wire.h"

static const char *const role_names[ROLE__COUNT] = {
    [ROLE_NONE] = "none",         [ROLE_SUPERVISOR] = "supervisor",
    [ROLE_KEEPER] = "keeper",     [ROLE_STORE] = "store",
    [ROLE_RESOLVER] = "resolver", [ROLE_MIXER] = "mixer",
    [ROLE_COURIER] = "courier",   [ROLE_OPENER] = "opener",
    [ROLE_SESSION] = "session",   [ROLE_GATE_MEMBER] = "gate-member",
    [ROLE_GATE_MX] = "gate-mx",   [ROLE_FETCHER] = "fetcher",
};

const char *
role_name(enum role r)
{
	return (unsigned)r < ROLE__COUNT ? role_names[r] : "none";
}

static const struct msg_rule rules[MSG__COUNT] = {
#define M(NAME, name, from, to, max, kind, fd) [MSG_##NAME] = {#NAME, (from), (to), (max), (kind), (fd) != 0},
    IPC_MESSAGES(M)
#undef M
};

const struct msg_rule *
msg_rule(unsigned type)
{
	return type > MSG_NONE && type < MSG__COUNT ? &rules[type] : NULL;
}

enum err
msg_empty_decode(struct bytes payload)
{
	return payload.len == 0 ? ERR_OK : ERR_FORMAT;
}

#define E_U8(n) wire_put_u8(&w, m->n);
#define E_U16(n) wire_put_u16(&w, m->n);
#define E_U32(n) wire_put_u32(&w, m->n);
#define E_U64(n) wire_put_u64(&w, m->n);
#define E_FIX(n, size) wire_put_fixed(&w, m->n, size);
#define E_BYTES(n) wire_put_bytes(&w, m->n);

#define D_U8(n) m.n = wire_get_u8(&r);
#define D_U16(n) m.n = wire_get_u16(&r);
#define D_U32(n) m.n = wire_get_u32(&r);
#define D_U64(n) m.n = wire_get_u64(&r);
#define D_FIX(n, size) wire_get_fixed(&r, m.n, size);
#define D_BYTES(n) m.n = wire_get_bytes(&r, IPC_UNIT_MAX);

#define MSG_CODEC(name, FIELDS)                                                                              \
	enum err msg_##name##_encode(struct buf *out, const struct msg_##name *m)                            \
	{                                                                                                    \
		struct wire_writer w;                                                                        \
		wire_writer_init(&w, out);                                                                   \
		FIELDS(E_U8, E_U16, E_U32, E_U64, E_FIX, E_BYTES)                                            \
		return wire_done(&w);                                                                        \
	}                                                                                                    \
	enum err msg_##name##_decode(struct bytes payload, struct msg_##name *ret)                           \
	{                                                                                                    \
		struct wire_reader r;                                                                        \
		struct msg_##name m;                                                                         \
		memset(&m, 0, sizeof(m));                                                                    \
		wire_reader_init(&r, payload);                                                               \
		FIELDS(D_U8, D_U16, D_U32, D_U64, D_FIX, D_BYTES)                                            \
		enum err e = wire_end(&r);                                                                   \
		if (e == ERR_OK) {                                                                           \
			*ret = m;                                                                            \
		}                                                                                            \
		explicit_bzero(&m, sizeof(m));                                                               \
		return e;                                                                                    \
	}

IPC_PAYLOADS(MSG_CODEC)
