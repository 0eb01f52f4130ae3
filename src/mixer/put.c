/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A message enters: its chunks pass to the store, then the unit with all its parts, and then the sender hears of it. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"
#include "mixer/room.h"

enum {
	PARTS_MAX = 512,
	UNITS_MOST = LAW_UNITS_MAX / 10 * 9, /* retries and notices still find room */
};

static const uint64_t HOLD_MAX = (uint64_t)366 * MSEC_DAY;

/* An answer that waits for the store's. */
struct relay {
	struct mixer *mixer;
	enum role from;
	unsigned index;
	uint64_t serial; /* of its channel */
	enum msg_type type;
	uint32_t id;
};

/* NULL where the peer has gone, even if it is back with another channel. */
static struct channel *
relay_channel(const struct relay *r)
{
	struct channel *ch = role_channel(r->mixer->host, r->from, r->index);
	return ch != NULL && channel_serial(ch) == r->serial ? ch : NULL;
}

static struct relay *
relay_new(struct mixer *m, struct channel *ch, const struct channel_message *msg)
{
	struct relay *r = calloc(1, sizeof(*r));
	if (r != NULL) {
		*r = (struct relay){.mixer = m,
				    .from = channel_peer(ch),
				    .index = channel_peer_index(ch),
				    .serial = channel_serial(ch),
				    .type = msg->type,
				    .id = msg->id};
	}
	return r;
}

static void
answer(struct channel *ch, enum msg_type type, uint32_t id, enum err status)
{
	if (ch != NULL && channel_answer(ch, type, id, status) != ERR_OK) {
		channel_end(ch);
	}
}

static void
on_blob_stored(void *arg, enum err status, struct bytes payload)
{
	struct relay *r = arg;
	(void)payload;
	answer(relay_channel(r), r->type, r->id, status);
	free(r);
}

void
mixer_blob(struct mixer *m, struct channel *ch, const struct channel_message *msg)
{
	struct msg_mix_blob q;
	if (msg_mix_blob_decode(msg->payload, &q) != ERR_OK) {
		channel_fault(ch);
		return;
	}
	struct channel *store = role_channel(m->host, ROLE_STORE, 0);
	struct relay *r = relay_new(m, ch, msg);
	struct msg_blob_put put = {.chunk = q.chunk, .data = q.data};
	memcpy(put.blob, q.blob, sizeof(put.blob));
	if (store == NULL || r == NULL ||
	    channel_request(store, BLOB_PUT, blob_put, &put, 0, on_blob_stored, r) != ERR_OK) {
		free(r);
		answer(ch, msg->type, msg->id, ERR_AGAIN);
	}
}

void
put_lists_clear(struct put_lists *l)
{
	buf_clear(&l->parts);
	buf_clear(&l->claims);
	buf_clear(&l->charges);
}

enum err
mixer_read_parts(struct bytes list, bool couriers, struct arena *arena, struct spool_state *state,
		 struct put_lists *ret)
{
	struct wire_reader r;
	struct wire_writer parts;
	struct wire_writer claims;
	struct wire_writer charges;
	*ret = (struct put_lists){BUF_INIT(IPC_UNIT_MAX),
				  BUF_INIT(PARTS_MAX * IPC_BLOB),
				  BUF_INIT(PARTS_MAX * (IPC_ACCOUNT + 16)),
				  false,
				  0,
				  {0},
				  {0}};
	wire_writer_init(&parts, &ret->parts);
	wire_writer_init(&claims, &ret->claims);
	wire_writer_init(&charges, &ret->charges);
	wire_reader_init(&r, list);
	state->parts = arena_array(arena, PARTS_MAX, sizeof(*state->parts));
	if (state->parts == NULL) {
		return ERR_MEMORY;
	}
	while (r.rest.len > 0 && r.error == ERR_OK) {
		if (state->part_count == PARTS_MAX) {
			return ERR_LIMIT;
		}
		struct spool_part *p = &state->parts[state->part_count];
		uint8_t kind = wire_get_u8(&r);
		wire_get_fixed(&r, p->account, sizeof(p->account));
		wire_get_fixed(&r, p->blob, sizeof(p->blob));
		p->bytes = wire_get_u64(&r);
		uint64_t quota = wire_get_u64(&r);
		uint32_t epoch = wire_get_u32(&r);
		p->epoch = kind == IPC_PART_COURIER ? epoch : 0;
		struct bytes body = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
		bool sent = kind == IPC_PART_SENT;
		if (r.error != ERR_OK || ret->sent ||
		    (kind != IPC_PART_ARRIVAL && ((kind != IPC_PART_COURIER && !sent) || !couriers))) {
			return ERR_FORMAT;
		}
		p->number = (uint32_t)state->part_count;
		p->kind = kind == IPC_PART_COURIER ? SPOOL_PART_COURIER : SPOOL_PART_LOCAL;
		p->destinations = kind == IPC_PART_COURIER ? 1 : 0;
		if (p->epoch > state->epoch) {
			state->epoch = p->epoch;
		}
		wire_put_bytes(&parts, body);
		wire_put_fixed(&claims, p->blob, sizeof(p->blob));
		if (kind != IPC_PART_COURIER) {
			wire_put_fixed(&charges, p->account, sizeof(p->account));
			wire_put_u64(&charges, p->bytes);
			wire_put_u64(&charges, quota);
		} else {
			memset(p->account, 0, sizeof(p->account));
		}
		if (sent) {
			ret->sent = true;
			ret->sent_part = p->number;
			memcpy(ret->sent_account, p->account, sizeof(ret->sent_account));
			memcpy(ret->sent_blob, p->blob, sizeof(ret->sent_blob));
		} else {
			state->part_count++;
		}
	}
	enum err e = wire_end(&r);
	if (e == ERR_OK && state->part_count == 0) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		e = wire_done(&parts) != ERR_OK    ? wire_done(&parts)
		    : wire_done(&claims) != ERR_OK ? wire_done(&claims)
						   : wire_done(&charges);
	}
	return e;
}

/* A unit between "sent to the store" and "on disk". */
struct entering {
	struct entering *next; /* in mixer.unsure */
	struct relay *relay;
	bool old;
	uint64_t bytes; /* on the lines, over all its deliveries */
	uint8_t id[IPC_UNIT];
	struct arena arena;
	struct spool_state state;
};

static void
entering_free(struct entering *n)
{
	if (n != NULL) {
		free(n->relay);
		arena_clear(&n->arena);
		free(n);
	}
}

enum err
room_enter(struct mixer *m, const uint8_t id[IPC_UNIT], const struct spool_state *state)
{
	struct unit *u = NULL;
	const struct law *law = state->stage == SPOOL_LEAVING ? m->leave : m->arrive;
	enum err e = room_add(m, id, state, &u);
	if (e == ERR_OK) {
		e = room_wait(m, u, room_law_unit(m, law, state, false));
		if (e != ERR_OK) {
			room_remove(m, u);
		}
	}
	return e;
}

static void
on_unit_stored(void *arg, enum err status, struct bytes payload)
{
	struct entering *n = arg;
	struct mixer *m = n->relay->mixer;
	(void)payload;
	m->entering_old -= n->old ? 1 : 0;
	if (status == ERR_CLOSED || (status == ERR_EXISTS && !room_knows(m, n->id))) {
		/*
		 * On disk or not, nobody knows before the store is back. Or it is there by the hand of a mixer that died
		 * with its message to the store on the way: what is on disk and not here is loaded.
		 */
		n->next = m->unsure;
		m->unsure = n;
		if (status == ERR_EXISTS) {
			mixer_reload(m);
		}
		return;
	}
	if (status == ERR_OK) {
		const struct live_sums entered = {.bytes = n->bytes};
		m->seen_put++;
		live_add(&m->live, room_now(m).wall, &entered);
		enum err e = m->loaded ? room_enter(m, n->id, &n->state) : ERR_OK;
		if (e != ERR_OK && e != ERR_EXISTS) {
			/* It is on disk, so the promise stands; loading anew brings it in. */
			panic("no memory for a unit that is on disk");
		}
	}
	answer(relay_channel(n->relay), n->relay->type, n->relay->id, status == ERR_EXISTS ? ERR_OK : status);
	entering_free(n);
}

void
mixer_settle_unsure(struct mixer *m)
{
	while (m->unsure != NULL) {
		struct entering *n = m->unsure;
		m->unsure = n->next;
		bool there = room_knows(m, n->id);
		m->seen_put += there ? 1 : 0;
		answer(relay_channel(n->relay), n->relay->type, n->relay->id, there ? ERR_OK : ERR_AGAIN);
		entering_free(n);
	}
}

/* Sealed to a key that may be destroyed as soon as nothing waits for it. */
static bool
is_old(const struct spool_state *s)
{
	for (size_t i = 0; i < s->part_count; i++) {
		if (s->parts[i].kind == SPOOL_PART_COURIER &&
		    (msec)(s->parts[i].epoch + (uint64_t)1) < clock_wall() / MSEC_DAY) {
			return true;
		}
	}
	return false;
}

/*
 * A copy that is sent on leaves as retries do: at the next tick, gate or no gate, counts for nothing and is nobody's. So no stranger opens
 * a gate by it, sets off a deadline, or uses up her share. Under the exponential law it draws its delay as all mail.
 */
static void
fill_forwarded(struct mixer *m, const struct msg_mix_put *q, struct spool_state *s)
{
	struct law_time now = room_now(m);
	s->stage = SPOOL_LEAVING;
	s->sender_kind = SPOOL_SENDER_ACCOUNT;
	memcpy(s->sender, q->sender, sizeof(s->sender));
	s->entered = now.age;
	s->wall_entered = now.wall;
	s->size_class = (uint8_t)law_size_class(q->size);
	s->weight = q->weight > 0 ? q->weight : 1;
	s->lane = LAW_NORMAL;
	if (m->host->config.leave.kind == LAW_CROWD) {
		s->lane = LAW_DUE;
		s->due = now.age > 0 ? now.age : 1;
	}
	s->flags = STATE_FORWARDED;
}

/* The house's own letter to others. */
static bool
is_nobodys(const struct msg_mix_put *q)
{
	static const uint8_t none[IPC_ACCOUNT];
	return memcmp(q->sender, none, sizeof(none)) == 0;
}

static void
fill_state(struct mixer *m, const struct msg_mix_put *q, struct spool_state *s)
{
	struct law_time now = room_now(m);
	uint32_t held = 0;
	s->stage = q->stage == IPC_STAGE_LEAVING ? SPOOL_LEAVING : SPOOL_ARRIVING;
	if (s->stage == SPOOL_LEAVING) {
		s->sender_kind = is_nobodys(q) ? SPOOL_SENDER_NONE : SPOOL_SENDER_ACCOUNT;
		memcpy(s->sender, q->sender, sizeof(s->sender));
	} else {
		s->sender_kind = SPOOL_SENDER_HOST;
		memcpy(s->sender, q->source, sizeof(s->sender));
	}
	s->entered = now.age;
	s->wall_entered = now.wall;
	s->size_class = (uint8_t)law_size_class(q->size);
	s->lane = q->lane <= LAW_PATIENT ? q->lane : LAW_NORMAL;
	if (s->stage == SPOOL_LEAVING && q->hold > 0) {
		s->due = now.age + (msec)(q->hold < HOLD_MAX ? q->hold : HOLD_MAX);
		held = STATE_HELD;
	} else if (s->sender_kind == SPOOL_SENDER_NONE && m->host->config.leave.kind == LAW_CROWD) {
		/* At the next tick, as retries do: it hides nobody, and sets off no deadline. */
		s->lane = LAW_DUE;
		s->due = now.age > 0 ? now.age : 1;
	} else if (s->stage == SPOOL_ARRIVING && q->lane == LAW_DUE) {
		/* Her address says that it shall not wait. */
		s->lane = LAW_DUE;
		s->due = now.age > 0 ? now.age : 1;
	}
	/* A stranger's letter is one letter, whatever the gate says; a member's has no more destinations than parts. */
	s->weight = s->stage == SPOOL_LEAVING && q->weight > 0 ? q->weight : 1;
	bool counts = s->stage == SPOOL_ARRIVING ? s->lane != LAW_DUE : house_counts(m, q->since_day);
	s->flags = (q->counts != 0 && counts ? STATE_COUNTS : 0) | held;
	s->since_day = q->since_day;
	s->generation = q->generation;
	memcpy(s->public_key, q->public_key, sizeof(s->public_key));
}

/* A worker speaks for its own members: one that is captured must not use up another's turns. */
static bool
is_own_member(const struct mixer *m, const struct channel *ch, const struct msg_mix_put *q)
{
	return q->sender[0] % m->host->config.session_workers == channel_peer_index(ch);
}

/* The courier sends what is nobody's, which makes nobody's crowd and has nobody to tell. */
static bool
may_send_for(const struct mixer *m, const struct channel *ch, const struct msg_mix_put *q)
{
	return channel_peer(ch) == ROLE_COURIER ? is_nobodys(q) && q->generation == 0 && q->counts == 0
						: !is_nobodys(q) && is_own_member(m, ch, q);
}

/* With the author's copy: the unit, and the copy in her log, in one transaction. */
static enum err
post_with_copy(struct channel *store, const struct msg_spool_put *put, const struct put_lists *lists,
	       struct entering *n)
{
	struct buf ops = BUF_INIT(IPC_UNIT_MAX);
	struct wire_writer w;
	wire_writer_init(&w, &ops);
	wire_put_u8(&w, SPOOL_OP_PUT);
	wire_put_fixed(&w, put->unit, IPC_UNIT);
	wire_put_bytes(&w, put->state);
	wire_put_bytes(&w, put->parts);
	wire_put_bytes(&w, put->claims);
	wire_put_bytes(&w, put->charges);
	wire_put_u8(&w, SPOOL_OP_RELEASE);
	wire_put_fixed(&w, put->unit, IPC_UNIT);
	wire_put_u32(&w, lists->sent_part);
	wire_put_fixed(&w, lists->sent_account, IPC_ACCOUNT);
	wire_put_fixed(&w, lists->sent_blob, IPC_BLOB);
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		struct msg_spool_batch batch = {.ops = buf_bytes(&ops)};
		e = channel_request(store, SPOOL_BATCH, spool_batch, &batch, 0, on_unit_stored, n);
	}
	buf_clear(&ops);
	return e;
}

/* Of a forwarding unit: her own copy is another's. */
static bool
is_all_leaving(const struct put_lists *lists, const struct spool_state *s)
{
	for (size_t i = 0; i < s->part_count; i++) {
		if (s->parts[i].kind != SPOOL_PART_COURIER) {
			return false;
		}
	}
	return !lists->sent;
}

static enum err
send_unit(struct mixer *m, const struct msg_mix_put *q, struct entering *n)
{
	struct put_lists lists = {BUF_INIT(0), BUF_INIT(0), BUF_INIT(0), false, 0, {0}, {0}};
	struct buf state = BUF_INIT(SPOOL_STATE_MAX);
	struct channel *store = role_channel(m->host, ROLE_STORE, 0);
	enum err e = store == NULL ? ERR_AGAIN : ERR_OK;
	if (e == ERR_OK) {
		if (q->stage == IPC_STAGE_FORWARDING) {
			fill_forwarded(m, q, &n->state);
		} else {
			fill_state(m, q, &n->state);
		}
		e = mixer_read_parts(q->parts, q->stage != IPC_STAGE_ARRIVING, &n->arena, &n->state, &lists);
	}
	n->bytes = n->state.stage == SPOOL_LEAVING ? q->size * n->state.weight : 0;
	if (e == ERR_OK && q->stage == IPC_STAGE_FORWARDING && !is_all_leaving(&lists, &n->state)) {
		e = ERR_FORMAT;
	}
	/* A worker gives copies to the author that it speaks for, and to nobody else. */
	if (e == ERR_OK && lists.sent && memcmp(lists.sent_account, q->sender, IPC_ACCOUNT) != 0) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK && n->state.weight > n->state.part_count) {
		n->state.weight = (uint16_t)n->state.part_count;
	}
	if (e == ERR_OK) {
		const struct law *law = n->state.stage == SPOOL_LEAVING ? m->leave : m->arrive;
		struct law_unit lu = room_law_unit(m, law, &n->state, true);
		/* Drawn once, and durable with the unit: a restart changes nothing. */
		room_keep(&n->state, &lu);
		e = room_seal(m, n->id, &n->state, &state);
	}
	if (e == ERR_OK) {
		struct msg_spool_put put = {.state = buf_bytes(&state),
					    .parts = buf_bytes(&lists.parts),
					    .claims = buf_bytes(&lists.claims),
					    .charges = buf_bytes(&lists.charges)};
		memcpy(put.unit, n->id, sizeof(put.unit));
		e = lists.sent ? post_with_copy(store, &put, &lists, n)
			       : channel_request(store, SPOOL_PUT, spool_put, &put, 0, on_unit_stored, n);
	}
	if (e == ERR_OK) {
		n->old = is_old(&n->state);
		m->entering_old += n->old ? 1 : 0;
	}
	put_lists_clear(&lists);
	buf_clear(&state);
	return e;
}

void
mixer_put(struct mixer *m, struct channel *ch, const struct channel_message *msg)
{
	struct msg_mix_put q;
	if (msg_mix_put_decode(msg->payload, &q) != ERR_OK ||
	    (q.stage != IPC_STAGE_LEAVING && q.stage != IPC_STAGE_ARRIVING &&
	     q.stage != IPC_STAGE_FORWARDING) ||
	    (q.stage == IPC_STAGE_LEAVING) == (channel_peer(ch) == ROLE_GATE_MX) ||
	    (q.stage == IPC_STAGE_LEAVING && !may_send_for(m, ch, &q))) {
		channel_fault(ch);
		return;
	}
	if (!m->loaded || m->host->stopping || law_waiting(m->leave) + law_waiting(m->arrive) > UNITS_MOST) {
		answer(ch, msg->type, msg->id, ERR_AGAIN);
		return;
	}
	if (room_knows(m, q.unit)) {
		answer(ch, msg->type, msg->id, ERR_OK);
		return;
	}
	struct entering *n = calloc(1, sizeof(*n));
	enum err e = n == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		arena_init(&n->arena, 1 << 20);
		memcpy(n->id, q.unit, sizeof(n->id));
		n->relay = relay_new(m, ch, msg);
		e = n->relay == NULL ? ERR_MEMORY : send_unit(m, &q, n);
		/* The store has just gone: nothing was sent to it, and the gate itself is well. */
		e = e == ERR_CLOSED ? ERR_AGAIN : e;
	}
	if (e == ERR_OK) {
		return;
	}
	entering_free(n);
	if (e == ERR_FORMAT) {
		channel_fault(ch);
	} else {
		answer(ch, msg->type, msg->id, e);
	}
}

enum err
mixer_notice_op(struct mixer *m, struct bytes notices, struct arena *arena, uint8_t ret_id[IPC_UNIT],
		struct spool_state *ret_state, struct wire_writer *ops)
{
	struct put_lists lists = {BUF_INIT(0), BUF_INIT(0), BUF_INIT(0), false, 0, {0}, {0}};
	struct buf sealed = BUF_INIT(SPOOL_STATE_MAX);
	struct law_time now = room_now(m);
	memset(ret_state, 0, sizeof(*ret_state));
	ret_state->stage = SPOOL_ARRIVING;
	ret_state->sender_kind = SPOOL_SENDER_NONE;
	ret_state->entered = now.age;
	ret_state->wall_entered = now.wall;
	ret_state->weight = 1;
	ret_state->lane = LAW_NORMAL;
	if (m->host->config.arrive.kind != LAW_NONE) {
		/* Hours later, or a mail that is refused would make its author's line show. */
		ret_state->lane = LAW_DUE;
		ret_state->due = now.age + law_notice_delay(room_random(m));
	}
	crypto_random_bytes(ret_id, IPC_UNIT);
	enum err e = mixer_read_parts(notices, false, arena, ret_state, &lists);
	if (e == ERR_OK) {
		struct law_unit lu = room_law_unit(m, m->arrive, ret_state, true);
		room_keep(ret_state, &lu);
		e = room_seal(m, ret_id, ret_state, &sealed);
	}
	if (e == ERR_OK) {
		wire_put_u8(ops, SPOOL_OP_PUT);
		wire_put_fixed(ops, ret_id, IPC_UNIT);
		wire_put_bytes(ops, buf_bytes(&sealed));
		wire_put_bytes(ops, buf_bytes(&lists.parts));
		wire_put_bytes(ops, buf_bytes(&lists.claims));
		/* The house's own notices come in whatever the quota says. */
		wire_put_bytes(ops, BYTES_EMPTY);
		e = wire_done(ops);
	}
	put_lists_clear(&lists);
	buf_clear(&sealed);
	return e;
}

enum err
mixer_journal_op(const uint8_t account[IPC_ACCOUNT], struct bytes sealed, struct wire_writer *ops)
{
	static const uint8_t no_blob[IPC_BLOB];
	uint8_t unit[IPC_UNIT];
	struct buf parts = BUF_INIT(IPC_PAYLOAD_MAX);
	struct wire_writer w;
	wire_writer_init(&w, &parts);
	wire_put_bytes(&w, sealed);
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		/* Put and released in one transaction: a unit that nobody ever sees. */
		crypto_random_bytes(unit, sizeof(unit));
		wire_put_u8(ops, SPOOL_OP_PUT);
		wire_put_fixed(ops, unit, IPC_UNIT);
		wire_put_bytes(ops, BYTES_LIT("-"));
		wire_put_bytes(ops, buf_bytes(&parts));
		wire_put_bytes(ops, BYTES_EMPTY);
		wire_put_bytes(ops, BYTES_EMPTY);
		wire_put_u8(ops, SPOOL_OP_RELEASE);
		wire_put_fixed(ops, unit, IPC_UNIT);
		wire_put_u32(ops, 0);
		wire_put_fixed(ops, account, IPC_ACCOUNT);
		wire_put_fixed(ops, no_blob, IPC_BLOB);
		wire_put_u8(ops, SPOOL_OP_DELETE);
		wire_put_fixed(ops, unit, IPC_UNIT);
		e = wire_done(ops);
	}
	buf_clear(&parts);
	return e;
}
