/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The CLI's socket: one packet in, one packet out. What concerns members goes to the opener unread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "process/log.h"
#include "supervisor/house.h"

enum { ANSWER_LIMIT_MS = 120 * 1000, STATUS_LIMIT_MS = 5 * 1000 };

struct control_connection {
	struct house *house;
	struct control_connection *next;
	int fd;
	bool answered;
	struct watch watch;
	struct timer deadline;
	/* Of a status request: what has come so far, and how many are still asked. */
	struct buf text;
	size_t waiting;
	size_t at; /* the child whose answer is awaited */
};

static void
drop(struct control_connection *c)
{
	struct house *h = c->house;
	for (struct control_connection **p = &h->controls; *p != NULL; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			h->control_count--;
			break;
		}
	}
	for (size_t i = 0; i < h->child_count; i++) {
		channel_forget(h->children[i].channel, c);
	}
	dkim_forget(h, c);
	watch_stop(&c->watch);
	timer_stop(&c->deadline);
	buf_clear(&c->text);
	(void)close(c->fd);
	free(c);
}

static void
answer_packet(struct control_connection *c, struct bytes packet)
{
	/* A CLI that went away gets nothing; there is nobody to tell. */
	ssize_t n = send(c->fd, packet.ptr, packet.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)n;
	drop(c);
}

static void
answer(struct control_connection *c, enum err status, struct bytes text, struct bytes data)
{
	struct buf packet = BUF_INIT(CONTROL_ANSWER_MAX + 64);
	if (control_answer_encode(&packet, status, text, data) == ERR_OK) {
		answer_packet(c, buf_bytes(&packet));
	} else {
		drop(c);
	}
	buf_wipe(&packet);
}

static void
on_opener(void *arg, enum err status, struct bytes payload)
{
	struct control_connection *c = arg;
	struct msg_control_reply r;
	if (status == ERR_OK && msg_control_reply_decode(payload, &r) == ERR_OK) {
		answer_packet(c, r.answer);
	} else {
		answer(c, status == ERR_OK ? ERR_FORMAT : status,
		       BYTES_LIT(
			   "the service could not answer. Remedy: try again; `cohue status` shows what runs"),
		       BYTES_EMPTY);
	}
}

/* ---- status ---- */

static void ask_next(struct control_connection *c);

/* It ends on a volunteer's terminal, to which a captured role must not speak in control characters. */
static bool
is_plain(struct bytes line)
{
	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] < ' ' || line.ptr[i] > '~') {
			return false;
		}
	}
	return true;
}

static void
add_child(struct control_connection *c, const struct child *child, struct bytes text)
{
	static const char *const states[] = {"down", "starting", "sandboxed", "ready"};
	const char *name = role_name(child->role);
	enum err e = buf_printf(&c->text, "%s %u state %s\n%s %u restarts %u\n", name, child->index,
				states[child->state], name, child->index, child->restarts);
	while (e == ERR_OK && text.len > 0) {
		ptrdiff_t end = bytes_find(text, '\n');
		struct bytes line = end < 0 ? text : bytes_slice(text, 0, (size_t)end);
		text = bytes_from(text, line.len + 1);
		if (!is_plain(line)) {
			continue;
		}
		e = buf_printf(&c->text, "%s %u ", name, child->index);
		if (e == ERR_OK) {
			e = buf_append(&c->text, line);
		}
		if (e == ERR_OK) {
			e = buf_append_byte(&c->text, '\n');
		}
	}
	/* Past the packet's size the rest is left out: the first lines say what runs. */
	(void)e;
}

static void
on_child_status(void *arg, enum err status, struct bytes payload)
{
	struct control_connection *c = arg;
	struct msg_status_reply r = {.text = BYTES_EMPTY};
	if (status == ERR_OK && msg_status_reply_decode(payload, &r) != ERR_OK) {
		r.text = BYTES_EMPTY;
	}
	add_child(c, &c->house->children[c->at], r.text);
	c->at++;
	ask_next(c);
}

static void
ask_next(struct control_connection *c)
{
	struct house *h = c->house;
	while (c->at < h->child_count) {
		struct child *child = &h->children[c->at];
		if (child->channel != NULL &&
		    channel_request_empty(child->channel, MSG_STATUS, loop_now(h->loop) + STATUS_LIMIT_MS,
					  on_child_status, c) == ERR_OK) {
			return;
		}
		add_child(c, child, BYTES_EMPTY);
		c->at++;
	}
	answer(c, ERR_OK, BYTES_EMPTY, buf_bytes(&c->text));
}

/* ---- requests ---- */

static void
on_tls_files(void *arg, enum err status, struct bytes payload)
{
	struct control_connection *c = arg;
	struct msg_tls_files_reply r = {.problem = BYTES_EMPTY};
	if (status == ERR_OK && msg_tls_files_reply_decode(payload, &r) != ERR_OK) {
		status = ERR_FORMAT;
	}
	if (status != ERR_OK) {
		r.problem = BYTES_LIT("the keeper could not answer. Remedy: try again");
	} else if (r.problem.len > 0) {
		status = is_plain(r.problem) ? ERR_FORMAT : ERR_DENIED;
		r.problem = is_plain(r.problem) ? r.problem : BYTES_LIT("the service's log says why");
	}
	answer(c, status, r.problem, BYTES_EMPTY);
}

static void
reload_tls(struct control_connection *c)
{
	struct child *keeper = child_find(c->house, ROLE_KEEPER, 0);
	struct buf problem = BUF_INIT(TLS_PROBLEM_MAX);
	if (keeper == NULL || keeper->channel == NULL || keeper->state != CHILD_READY) {
		answer(c, ERR_AGAIN, BYTES_LIT("the service is starting. Remedy: try again in a moment"),
		       BYTES_EMPTY);
	} else if (!tls_files_send(keeper, on_tls_files, c, &problem)) {
		answer(c, ERR_IO, buf_bytes(&problem), BYTES_EMPTY);
	}
	buf_clear(&problem);
}

static void
on_renewed(void *arg, enum err status, struct bytes payload)
{
	struct control_connection *c = arg;
	struct msg_acme_renew_reply r = {.problem = BYTES_EMPTY};
	if (status == ERR_OK && msg_acme_renew_reply_decode(payload, &r) != ERR_OK) {
		status = ERR_FORMAT;
	}
	c->house->renewal_owed = status == ERR_CLOSED ? ACME_RENEW_TRIES : c->house->renewal_owed;
	if (status == ERR_DENIED) {
		r.problem =
		    BYTES_LIT("acme is off. Remedy: set acme = on in cohue.conf, and start the service anew");
	} else if (status != ERR_OK) {
		r.problem = BYTES_LIT(
		    "no answer yet; it goes on by itself. Remedy: `cohue status` shows what comes of it");
	} else if (r.problem.len > 0) {
		status = ERR_DENIED;
		r.problem = is_plain(r.problem) ? r.problem : BYTES_LIT("the service's log says why");
	}
	answer(c, status, r.problem, BYTES_EMPTY);
}

static void
renew_tls(struct control_connection *c)
{
	struct child *fetcher = child_find(c->house, ROLE_FETCHER, 0);
	if (fetcher == NULL || fetcher->channel == NULL || fetcher->state != CHILD_READY ||
	    channel_request_empty(fetcher->channel, MSG_ACME_RENEW,
				  loop_now(c->house->loop) + ACME_RENEW_LIMIT_MS, on_renewed, c) != ERR_OK) {
		answer(c, ERR_AGAIN, BYTES_LIT("the service is starting. Remedy: try again in a moment"),
		       BYTES_EMPTY);
	}
}

static void
on_dkim(void *arg, enum err status, const char *text)
{
	answer(arg, status, bytes_str(text), BYTES_EMPTY);
}

static void
handle(struct control_connection *c, struct bytes packet)
{
	struct house *h = c->house;
	if (packet.ptr[0] == CONTROL_STATUS) {
		ask_next(c);
		return;
	}
	if (packet.ptr[0] == CONTROL_STOP) {
		answer(c, ERR_OK, BYTES_EMPTY, BYTES_EMPTY);
		children_stop(h);
		return;
	}
	if (packet.ptr[0] == CONTROL_TLS_RELOAD) {
		reload_tls(c);
		return;
	}
	if (packet.ptr[0] == CONTROL_TLS_RENEW) {
		renew_tls(c);
		return;
	}
	if (packet.ptr[0] == CONTROL_DKIM) {
		if (packet.len != 2 || packet.ptr[1] < CONTROL_DKIM_ROTATE ||
		    packet.ptr[1] > CONTROL_DKIM_ACTIVATE) {
			on_dkim(c, ERR_FORMAT,
				"the request is not understood. Remedy: use the `cohue` of the same version "
				"as the service");
		} else if (dkim_ask(h, packet.ptr[1], on_dkim, c) != ERR_OK) {
			on_dkim(c, ERR_AGAIN,
				"the keys cannot be changed just now. Remedy: try again in a moment");
		}
		return;
	}
	struct child *opener = child_find(h, ROLE_OPENER, 0);
	struct msg_control m = {.request = packet};
	if (opener == NULL || opener->channel == NULL || opener->state != CHILD_READY ||
	    channel_request(opener->channel, CONTROL, control, &m, loop_now(h->loop) + ANSWER_LIMIT_MS,
			    on_opener, c) != ERR_OK) {
		answer(c, ERR_AGAIN, BYTES_LIT("the service is starting. Remedy: try again in a moment"),
		       BYTES_EMPTY);
	}
}

static void
on_packet(struct watch *w, unsigned events)
{
	struct control_connection *c = w->arg;
	uint8_t packet[CONTROL_REQUEST_MAX];
	(void)events;
	ssize_t n = recv(c->fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	if (n <= 0 || (size_t)n > sizeof(packet)) {
		drop(c);
		return;
	}
	if (c->answered) {
		/* One request a connection. */
		drop(c);
		return;
	}
	c->answered = true;
	watch_stop(&c->watch);
	handle(c, bytes_of(packet, (size_t)n));
	explicit_bzero(packet, sizeof(packet));
}

static void
on_deadline(struct timer *t)
{
	drop(t->arg);
}

static void
on_connection(struct watch *w, unsigned events)
{
	struct house *h = w->arg;
	(void)events;
	int fd = accept4(h->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		return;
	}
	struct control_connection *c = h->control_count < CONTROLS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL) {
		(void)close(fd);
		return;
	}
	c->house = h;
	c->fd = fd;
	buf_init(&c->text, CONTROL_ANSWER_MAX - 64);
	watch_init(&c->watch, on_packet, c);
	timer_init(&c->deadline, on_deadline, c);
	c->next = h->controls;
	h->controls = c;
	h->control_count++;
	if (watch_start(h->loop, &c->watch, fd, LOOP_READ) != ERR_OK ||
	    timer_start_after(h->loop, &c->deadline, ANSWER_LIMIT_MS) != ERR_OK) {
		drop(c);
	}
}

bool
control_open(struct house *h)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", h->home);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path)) {
		log_event(LOG_LEVEL_ERROR,
			  "the path of the home directory is too long for a socket (%zu bytes at most). "
			  "Remedy: a shorter path",
			  sizeof(sa.sun_path) - sizeof("/control.sock"));
		return false;
	}
	/* The lock on HOME is ours, so an old socket is a leftover. */
	(void)unlink(sa.sun_path);
	h->control_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before = umask(0177);
	bool bound = h->control_fd >= 0 && bind(h->control_fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	int problem = errno;
	(void)umask(before);
	watch_init(&h->control_watch, on_connection, h);
	if (!bound || listen(h->control_fd, CONTROLS_MAX) != 0 ||
	    watch_start(h->loop, &h->control_watch, h->control_fd, LOOP_READ) != ERR_OK) {
		log_event(LOG_LEVEL_ERROR,
			  "cannot open the control socket %s: %s. Remedy: make %s writable for the user who "
			  "runs cohue",
			  sa.sun_path, strerror(problem), h->home);
		return false;
	}
	return true;
}

void
control_close(struct house *h)
{
	while (h->controls != NULL) {
		drop(h->controls);
	}
	watch_stop(&h->control_watch);
	if (h->control_fd >= 0) {
		char path[CONFIG_PATH_MAX + 32];
		(void)snprintf(path, sizeof(path), "%s/control.sock", h->home);
		(void)unlink(path);
		(void)close(h->control_fd);
		h->control_fd = -1;
	}
}
