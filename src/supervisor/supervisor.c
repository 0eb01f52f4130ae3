/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The supervisor binds the ports, starts the roles and restarts them, hands descriptors on, and carries the
 * CLI's requests to the opener unread. It reads no network byte: connections are accepted by the gates. It
 * reads the house key only to hand it to the keeper. Started as root it stays root, so its capture would
 * give the service; what it reads is: the configuration, its children's messages (the table of
 * ipc/messages.h), and packets on a socket that only the volunteer may open.
 */
#include "supervisor/supervisor.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "process/log.h"
#include "process/sandbox.h"
#include "supervisor/house.h"

enum { SETS_MAX = 64 };

void
house_fail(struct house *h)
{
	h->exit_status = 1;
	children_stop(h);
}

static void
on_signal(struct watch *w, unsigned events)
{
	struct house *h = w->arg;
	struct signalfd_siginfo info;
	(void)events;
	while (read(h->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD) {
			children_reap(h);
		} else if (info.ssi_signo == SIGHUP) {
			tls_files_reload(h);
		} else {
			children_stop(h);
		}
	}
}

static bool
catch_signals(struct house *h)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
		return false;
	}
	h->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	watch_init(&h->signal_watch, on_signal, h);
	return h->signal_fd >= 0 && watch_start(h->loop, &h->signal_watch, h->signal_fd, LOOP_READ) == ERR_OK;
}

/* Gates hold a descriptor per connection. */
static void
raise_descriptor_limit(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

static void
usage(void)
{
	(void)fprintf(stderr, "usage: cohue run [--home DIR] [--set KEY=VALUE]...\n");
}

int
supervisor_main(int argc, char **argv)
{
	static const struct option options[] = {{"home", required_argument, NULL, 'h'},
						{"set", required_argument, NULL, 's'},
						{NULL, 0, NULL, 0}};
	const char *home = NULL;
	char *sets[SETS_MAX];
	size_t set_count = 0;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'h') {
			home = optarg;
		} else if (c == 's' && set_count < SETS_MAX) {
			sets[set_count++] = optarg;
		} else {
			usage();
			return 2;
		}
	}
	if (optind != argc) {
		usage();
		return 2;
	}
	log_set_role("supervisor");
	raise_descriptor_limit();
	const char *step = "";
	if (sandbox_early(&step) != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "cannot turn off core dumps (%s)", step);
		return 1;
	}
	struct house *h = calloc(1, sizeof(*h));
	if (h == NULL) {
		return 1;
	}
	h->lock_fd = -1;
	h->control_fd = -1;
	h->signal_fd = -1;
	h->as_root = geteuid() == 0;
	if (loop_create(&h->loop) != ERR_OK || !catch_signals(h)) {
		log_event(LOG_LEVEL_ERROR, "cannot start: the kernel gives no event descriptors");
		free(h);
		return 1;
	}
	h->exit_status = 1;
	if (preflight(h, home, sets, set_count) && sockets_open(h) && control_open(h) && children_plan(h)) {
		h->exit_status = 0;
		children_start(h);
		if (loop_run(h->loop) != ERR_OK) {
			log_event(LOG_LEVEL_ERROR, "the event loop failed");
			h->exit_status = 1;
		}
	}
	control_close(h);
	sockets_close(h);
	int status = h->exit_status;
	if (status == 0) {
		log_event(LOG_LEVEL_NOTICE, "stopped");
	}
	for (size_t i = 0; i < h->child_count; i++) {
		channel_destroy(&h->children[i].channel);
	}
	watch_stop(&h->signal_watch);
	loop_destroy(&h->loop);
	buf_clear(&h->config_bytes);
	free(h);
	return status;
}
