/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The store holds ciphertext, random names and keyed hashes, and no key. It reads the messages of gate-mx (directory,
 * heads), opener, session and mixer; nobody outside reaches it. It can touch its own folder and nothing else. Its
 * capture lets an attacker withhold, reorder, duplicate or roll back; members' sessions detect what DESIGN
 * says they detect, and never accept another member's data. A session worker reaches the logs of its own members only:
 * a captured one could not read others', but destroy them.
 *
 * Group commit: what all peers sent in one turn of the loop runs in one transaction; the answers leave after
 * its commit. Chunks of blobs alone do not force one (see pending.h), nor do releases, whose answers wait for the next.
 */
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/wire.h"
#include "process/log.h"
#include "storage/storage.h"
#include "store/store_internal.h"

enum {
	RELEASE_COMMIT_MS =
	    10, /* for releases: nobody was promised anything yet, so they join the next commit */
	LAZY_COMMIT_MS = 50, /* for chunks whose claim is late */
	UPKEEP_MS = 30 * 1000,
	ABANDONED_MS = 60 * 60 * 1000, /* a blob begun and not claimed for so long has lost its sender */
};

/* An answer that waits for the commit. */
struct answer {
	struct answer *next;
	struct channel *ch; /* NULL: the peer has gone */
	enum msg_type type;
	uint32_t id;
	enum err status;
	bool held; /* until the commit: it tells of what the open transaction holds */
	struct buf payload;
};

static void
answer_free(struct answer *a)
{
	buf_wipe(&a->payload);
	free(a);
}

void
store_answer(struct store *s, const struct request *q, enum err status, struct buf *payload)
{
	struct answer *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		/* An answer that never comes would be waited for; a channel that ends is noticed. */
		channel_end(q->ch);
		if (payload != NULL) {
			buf_clear(payload);
		}
		return;
	}
	a->ch = q->ch;
	a->type = q->type;
	a->id = q->id;
	a->status = status;
	a->held = q->held;
	if (payload != NULL) {
		a->payload = *payload;
		buf_init(payload, payload->max);
	}
	*s->answers_end = a;
	s->answers_end = &a->next;
}

static void
send_answer(struct answer *a)
{
	if (a->ch == NULL) {
		return;
	}
	enum err e;
	if (a->status == ERR_OK) {
		channel_start_reply(a->ch, a->type, a->id);
		e = channel_finish(a->ch, buf_append(channel_out(a->ch), buf_bytes(&a->payload)));
		if (e == ERR_LIMIT) {
			e = channel_answer(a->ch, a->type, a->id, ERR_LIMIT);
		}
	} else {
		e = channel_answer(a->ch, a->type, a->id, a->status);
	}
	if (e != ERR_OK && e != ERR_CLOSED) {
		channel_end(a->ch);
	}
}

/* A member always meets the same worker. */
static unsigned
worker_of(const struct store *s, const uint8_t account[ACCOUNT_ID_LEN])
{
	return account[0] % s->host->config.session_workers;
}

static void
send_changes(struct store *s)
{
	for (size_t i = 0; i < s->changed_count; i++) {
		struct msg_log_changed m = {.n = s->changed[i].n};
		memcpy(m.account, s->changed[i].account, sizeof(m.account));
		/* The one worker where she is, if she is anywhere. */
		struct channel *ch = role_channel(s->host, ROLE_SESSION, worker_of(s, m.account));
		if (ch != NULL && channel_notice(ch, LOG_CHANGED, log_changed, &m) != ERR_OK) {
			channel_end(ch);
		}
	}
	s->changed_count = 0;
}

enum err
store_note_change(struct store *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n)
{
	if (s->changed_count == s->changed_cap) {
		size_t cap = s->changed_cap == 0 ? 64 : s->changed_cap * 2;
		struct change *bigger = reallocarray(s->changed, cap, sizeof(*bigger));
		if (bigger == NULL) {
			return ERR_MEMORY;
		}
		s->changed = bigger;
		s->changed_cap = cap;
	}
	memcpy(s->changed[s->changed_count].account, account, ACCOUNT_ID_LEN);
	s->changed[s->changed_count++].n = n;
	return ERR_OK;
}

static void
fail_transaction(struct store *s, enum err e)
{
	s->driver->rollback(s->storage);
	s->open = false;
	s->failures++;
	pending_void(&s->pending);
	s->changed_count = 0;
	for (struct answer *a = s->answers; a != NULL; a = a->next) {
		/* One log's damage is no reason to refuse the others of this turn for good. */
		a->status = e == ERR_DAMAGED ? ERR_AGAIN : e;
		buf_reset(&a->payload);
	}
	if (e != s->last_failure && e != ERR_AGAIN) {
		/* Once per kind, not per message. */
		log_event(
		    LOG_LEVEL_ERROR, "cannot write to the store: %s%s", err_text(e),
		    e == ERR_FULL
			? ". Remedy: make room on the disk; mail is refused with a temporary error meanwhile"
			: "");
		s->last_failure = e;
	}
}

static void
send_answers(struct store *s)
{
	struct answer **at = &s->answers;
	while (*at != NULL) {
		struct answer *a = *at;
		if (a->held && s->open) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		send_answer(a);
		answer_free(a);
	}
	s->answers_end = at;
}

/* No disk mends itself: who keeps the house is told, without names. */
static void
tell_mended(struct store *s)
{
	if (s->storage->heads_mended != s->told_mended) {
		if (s->told_mended == 0) {
			log_event(LOG_LEVEL_WARNING, "the head of a log was damaged, and is made anew of its "
						     "records. Remedy: `cohue check` "
						     "says whether there is more");
		}
		s->told_mended = s->storage->heads_mended;
	}
}

static void
finish_turn(struct store *s)
{
	if (s->open && s->must_commit) {
		enum err e = s->driver->commit(s->storage);
		if (e == ERR_OK) {
			s->open = false;
			s->commits++;
			/* What is damaged stays so, and is told once. */
			s->last_failure = s->last_failure == ERR_DAMAGED ? ERR_DAMAGED : ERR_OK;
			tell_mended(s);
		} else {
			fail_transaction(s, e);
		}
		timer_stop(&s->lazy);
	} else if (s->open && (!timer_is_running(&s->lazy) || s->begun_release)) {
		if (timer_start_after(s->host->loop, &s->lazy,
				      s->released ? RELEASE_COMMIT_MS : LAZY_COMMIT_MS) != ERR_OK) {
			fail_transaction(s, ERR_MEMORY);
		}
	}
	s->must_commit = false;
	s->begun_release = false;
	s->released = s->released && s->open;
	send_answers(s);
	if (!s->open) {
		send_changes(s);
	}
}

static void
on_turn_end(struct defer *d)
{
	finish_turn(d->arg);
}

static void
on_lazy(struct timer *t)
{
	struct store *s = t->arg;
	s->must_commit = true;
	finish_turn(s);
}

static void
on_upkeep(struct timer *t)
{
	struct store *s = t->arg;
	uint8_t name[BLOB_NAME_LEN];
	enum err e = ERR_OK;
	while (e == ERR_OK &&
	       unclaimed_take_older(&s->pending, loop_now(s->host->loop) - ABANDONED_MS, name)) {
		e = store_begin(s);
		if (e == ERR_OK) {
			e = s->driver->blob_delete(s->storage, name);
			/* A void one may never have been on disk. */
			e = e == ERR_NOT_FOUND ? ERR_OK : e;
		}
	}
	if (e != ERR_OK && s->open) {
		fail_transaction(s, e);
	}
	if (s->open) {
		/* Also what waits for the lazy commit: the write-ahead log cannot be emptied under a transaction. */
		s->must_commit = true;
		finish_turn(s);
	}
	if (s->commits != s->upkeep_at) {
		s->upkeep_at = s->commits;
		if (s->driver->upkeep(s->storage) != ERR_OK) {
			log_event(LOG_LEVEL_WARNING, "the store's upkeep failed; it is tried again");
		}
	}
	if (timer_start_after(s->host->loop, &s->upkeep, UPKEEP_MS) != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "the store's upkeep cannot be scheduled");
	}
}

enum err
store_begin(struct store *s)
{
	if (s->open) {
		return ERR_OK;
	}
	enum err e = s->driver->begin(s->storage);
	if (e == ERR_OK) {
		s->open = true;
	}
	return e;
}

static bool
is_fatal(enum err e)
{
	return e == ERR_IO || e == ERR_FULL || e == ERR_MEMORY || e == ERR_DAMAGED;
}

/*
 * A member always meets the same worker: another one has nothing to read in her log, nor to change. (How full a mailbox is
 * any worker may ask: LOG_HEAD.) Each of these payloads begins with the account.
 */
static bool
is_others(const struct store *s, const struct request *q)
{
	enum msg_type t = q->type;
	bool of_log = t == MSG_LOG_READ || t == MSG_LOG_READ_MANY || t == MSG_LOG_APPEND ||
		      t == MSG_LOG_DELETE || t == MSG_SNAPSHOT_PUT || t == MSG_SNAPSHOT_GET;
	return of_log && channel_peer(q->ch) == ROLE_SESSION && q->payload.len > 0 &&
	       worker_of(s, q->payload.ptr) != channel_peer_index(q->ch);
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	struct store *s = h->state;
	struct request q = {.ch = ch, .type = m->type, .id = m->id, .payload = m->payload, .held = false};
	const struct store_handler *handler = store_handler(m->type);
	if (handler == NULL || is_others(s, &q)) {
		channel_fault(ch);
		return;
	}
	s->requests++;
	enum err e = handler->writes ? store_begin(s) : ERR_OK;
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
	if (e == ERR_OK) {
		e = handler->fn(s, &q, &reply);
	}
	if (e == ERR_FORMAT) {
		buf_wipe(&reply);
		channel_fault(ch);
		if (handler->writes && s->open) {
			/* Half of a malformed batch must not stay; the others of this turn try again. */
			fail_transaction(s, ERR_AGAIN);
			defer_start(h->loop, &s->turn_end);
		}
		return;
	}
	if (s->must_roll_back) {
		/* The others of this turn did nothing wrong: they try again. This one hears what was wrong. */
		s->must_roll_back = false;
		fail_transaction(s, is_fatal(e) ? e : ERR_AGAIN);
	}
	if (m->type == MSG_SPOOL_BATCH && s->open && !s->released) {
		s->released = true;
		s->begun_release = true;
	}
	/*
	 * A log that a release has changed is not shown before the commit: what is read of it must
	 * stay true. The gates ask for sums only.
	 */
	q.held = m->type == MSG_SPOOL_BATCH ||
		 (handler->reads_log && s->released && channel_peer(ch) != ROLE_GATE_MX);
	if (handler->writes && is_fatal(e) && s->open) {
		fail_transaction(s, e);
	}
	store_answer(s, &q, e, e == ERR_OK ? &reply : NULL);
	buf_wipe(&reply);
	if (handler->writes && m->type != MSG_BLOB_PUT && m->type != MSG_SPOOL_BATCH) {
		s->must_commit = s->must_commit || s->open;
	}
	defer_start(h->loop, &s->turn_end);
}

static void
peer_down(struct role_host *h, enum role peer, unsigned index)
{
	struct store *s = h->state;
	for (struct answer *a = s->answers; a != NULL; a = a->next) {
		if (a->ch != NULL && channel_peer(a->ch) == peer && channel_peer_index(a->ch) == index) {
			a->ch = NULL;
		}
	}
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	static char folder[CONFIG_PATH_MAX + 16];
	struct store *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ERR_MEMORY;
	}
	(void)snprintf(folder, sizeof(folder), "%s/store", h->home);
	profile->paths[profile->path_count++] =
	    (struct sandbox_path){.path = folder, .access = SANDBOX_READ_WRITE};
	s->folder = folder;
	s->host = h;
	s->answers_end = &s->answers;
	defer_init(&s->turn_end, on_turn_end, s);
	timer_init(&s->lazy, on_lazy, s);
	timer_init(&s->upkeep, on_upkeep, s);
	h->state = s;
	return ERR_OK;
}

/*
 * A database is made only where `cohue init` left the word that there is none yet. Anywhere else a missing one is a disk
 * that is not mounted or a backup half brought back, and an empty house would refuse all its members' mail for good.
 */
static enum err
open_storage(struct store *s)
{
	char path[CONFIG_PATH_MAX + 32];
	(void)snprintf(path, sizeof(path), "%s/new", s->folder);
	enum err e = storage_sqlite_open(s->folder, false, false, &s->storage);
	if (e == ERR_NOT_FOUND) {
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0) {
			return ERR_NOT_FOUND;
		}
		(void)close(fd);
		e = storage_sqlite_open(s->folder, true, false, &s->storage);
	}
	if (e == ERR_OK) {
		(void)unlink(path);
	}
	return e;
}

static enum err
read_epoch(struct store *s)
{
	struct buf value = BUF_INIT(64);
	struct wire_reader r;
	enum err e = s->driver->meta_get(s->storage, STORAGE_META_RESTORED, &value);
	if (e == ERR_OK) {
		wire_reader_init(&r, buf_bytes(&value));
		s->epoch = wire_get_u32(&r);
		e = wire_end(&r) == ERR_OK ? ERR_OK : ERR_DAMAGED;
	}
	buf_clear(&value);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err
start(struct role_host *h)
{
	struct store *s = h->state;
	/* Opened as the role's own user, so that no file of the database belongs to root. */
	enum err e = open_storage(s);
	if (e != ERR_OK) {
		log_event(
		    LOG_LEVEL_ERROR, "cannot open the database in %s: %s. Remedy: %s", s->folder, err_text(e),
		    e == ERR_NOT_FOUND
			? "this home had one: mount its disk, or bring back the whole folder from a backup"
		    : e == ERR_EXISTS      ? "stop the other cohue that has it open"
		    : e == ERR_UNSUPPORTED ? "it was written by a newer cohue: install that"
		    : e == ERR_FULL        ? "make room on the disk"
		    : e == ERR_DAMAGED
			? "`cohue check` says what is damaged; bring back a backup"
			: "see that the folder belongs to the store's user, and that the disk works");
		return e;
	}
	s->driver = s->storage->driver;
	e = read_epoch(s);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "cannot read the database in %s: %s. Remedy: cohue check",
			  s->folder, err_text(e));
		return e;
	}
	return timer_start_after(h->loop, &s->upkeep, UPKEEP_MS);
}

static enum err
status(struct role_host *h, struct buf *out)
{
	struct store *s = h->state;
	struct statvfs disk;
	enum err e = buf_printf(out,
				"+requests %llu\n+commits %llu\n!write_failures %llu\n!heads_mended %llu\n"
				"!releases_left_out %llu\n=pending_blobs %zu\n",
				(unsigned long long)s->requests, (unsigned long long)s->commits,
				(unsigned long long)s->failures, (unsigned long long)s->storage->heads_mended,
				(unsigned long long)s->left_out, s->pending.count);
	if (e == ERR_OK && statvfs(h->home, &disk) == 0 && disk.f_blocks > 0) {
		e = buf_printf(out, "disk_free_percent %llu\n",
			       (unsigned long long)(disk.f_bavail * 100 / disk.f_blocks));
	}
	return e;
}

static void
stop(struct role_host *h)
{
	struct store *s = h->state;
	if (s->storage != NULL) {
		s->must_commit = true;
		finish_turn(s);
		/* Leaves no deleted page behind in the write-ahead log. */
		(void)(s->driver->upkeep(s->storage) == ERR_OK);
		s->driver->destroy(&s->storage);
	}
	role_stopped(h);
}

const struct role_def store_role = {
    .id = ROLE_STORE,
    .sandbox_allow = SANDBOX_DISK,
    .prepare = prepare,
    .start = start,
    .peer_down = peer_down,
    .message = message,
    .status = status,
    .stop = stop,
};
