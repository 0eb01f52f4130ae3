/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The other end of HOME/control.sock. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/secret.h"
#include "cli/internal.h"

enum { ANSWER_SECONDS = 150 };

/* A path longer than an address can hold is reached through its directory's descriptor. */
static bool
socket_address(const struct cli *c, struct sockaddr_un *ret, int *ret_dir)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/control.sock", c->home);
	if (n > 0 && (size_t)n < sizeof(ret->sun_path)) {
		return true;
	}
	*ret_dir = open(c->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/control.sock", *ret_dir);
	return *ret_dir >= 0;
}

static int
connect_home(const struct cli *c)
{
	struct sockaddr_un sa;
	int dir = -1;
	if (!socket_address(c, &sa, &dir)) {
		(void)cli_fail(
		    "%s cannot be entered: %s. Remedy: name the home with --home DIR (or COHUE_HOME)",
		    c->home, strerror(errno));
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
		    connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0;
	int problem = errno;
	if (dir >= 0) {
		(void)close(dir);
	}
	if (good) {
		return fd;
	}
	if (fd >= 0) {
		(void)close(fd);
	}
	if (problem == ENOENT || problem == ECONNREFUSED || problem == ENOTDIR) {
		(void)cli_fail(
		    "the service does not run on %s. Remedy: start it (cohue run --home %s), or name "
		    "another home with --home DIR",
		    c->home, c->home);
	} else {
		(void)cli_fail("%s/control.sock cannot be reached: %s. Remedy: run as the user who runs the "
			       "service",
			       c->home, strerror(problem));
	}
	return -1;
}

bool
cli_ask(const struct cli *c, struct buf *request, struct buf *ret_data)
{
	uint8_t packet[CONTROL_ANSWER_MAX + 64];
	struct control_answer a;
	int fd = connect_home(c);
	if (fd < 0) {
		buf_wipe(request);
		return false;
	}
	ssize_t n = send(fd, request->ptr, request->len, MSG_NOSIGNAL);
	bool sent = n == (ssize_t)request->len;
	buf_wipe(request);
	n = sent ? recv(fd, packet, sizeof(packet), MSG_TRUNC) : -1;
	(void)close(fd);
	if (n <= 0 || (size_t)n > sizeof(packet)) {
		(void)cli_fail("the service gave no answer. Remedy: `cohue status` shows what runs; then try "
			       "again");
		return false;
	}
	bool good = control_answer_decode(bytes_of(packet, (size_t)n), &a) == ERR_OK;
	if (!good) {
		(void)cli_fail("the answer is not understood. Remedy: use the `cohue` of the same version as "
			       "the service");
	} else if (a.status != ERR_OK) {
		good = false;
		(void)cli_fail("%.*s", a.text.len == 0 ? 0 : (int)a.text.len,
			       a.text.len == 0 ? "" : (const char *)a.text.ptr);
	} else {
		if (a.text.len > 0) {
			(void)fprintf(stderr, "cohue: %.*s\n", (int)a.text.len, (const char *)a.text.ptr);
		}
		good = buf_append(ret_data, a.data) == ERR_OK;
	}
	secret_wipe(packet, sizeof(packet));
	return good;
}
