/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fetcher/transfer.h"
#include "loop/task.h"

static struct loop *loop;
static struct transfer_engine *engine;
static struct transfer_request request;
static struct transfer_result result;
static bool over;

static void
task(void *arg)
{
	(void)arg;
	transfer_run(engine, &request, &result);
	over = true;
}

static void
run(const char *url, size_t body_max, msec timeout, bool loopback)
{
	request = (struct transfer_request){.method = BYTES_LIT("GET"),
					    .url = bytes_str(url),
					    .body_max = body_max,
					    .headers_max = 4096,
					    .timeout = timeout,
					    .loopback = loopback};
	over = false;
	assert_int_equal(task_spawn(loop, task, NULL, NULL), ERR_OK);
	for (unsigned i = 0; i < 10000 && !over; i++) {
		assert_int_equal(loop_run_once(loop, 100), ERR_OK);
	}
	assert_true(over);
}

static void
done(void)
{
	buf_clear(&result.headers);
	buf_clear(&result.body);
}

/* A server that gives one answer, or none; its URL. */
static pid_t
serve(const char *answer, size_t more, char url[64])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)(const void *)&at, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&at, &len), 0);
	assert_int_equal(listen(fd, 4), 0);
	(void)snprintf(url, 64, "http://127.0.0.1:%u/x", (unsigned)ntohs(at.sin_port));
	pid_t pid = fork();
	if (pid == 0) {
		char request_text[4096];
		int c = accept(fd, NULL, NULL);
		ssize_t n = read(c, request_text, sizeof(request_text));
		n = answer == NULL ? (ssize_t)sleep(30) : write(c, answer, strlen(answer));
		for (size_t i = 0; i < more && n >= 0; i++) {
			n = write(c, "0123456789", 10);
		}
		_exit(0);
	}
	(void)close(fd);
	return pid;
}

static void
end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	done();
}

static void
an_answer_comes_with_its_headers(void **state)
{
	char url[64];
	(void)state;
	pid_t pid = serve(
	    "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 5\r\n\r\nhello", 0, url);
	run(url, 100, 5000, true);
	assert_int_equal(result.error, ERR_OK);
	/* A redirection is an answer, and is not followed. */
	assert_int_equal(result.status, 302);
	assert_true(bytes_is(buf_bytes(&result.body), "hello"));
	assert_true(bytes_search(buf_bytes(&result.headers), BYTES_LIT("Location: http://192.0.2.1/\r\n")) >=
		    0);
	end(pid);
}

static void
a_server_that_says_nothing_is_left(void **state)
{
	char url[64];
	(void)state;
	pid_t pid = serve(NULL, 0, url);
	run(url, 100, 300, true);
	assert_int_equal(result.error, ERR_TIMEOUT);
	end(pid);
}

static void
a_body_without_end_is_cut_off(void **state)
{
	char url[64];
	(void)state;
	pid_t pid = serve("HTTP/1.1 200 OK\r\n\r\n", 100000, url);
	run(url, 1000, 5000, true);
	assert_int_equal(result.error, ERR_LIMIT);
	assert_true(result.body.len <= 1000);
	end(pid);
}

static void
what_is_no_http_is_refused(void **state)
{
	char url[64];
	(void)state;
	pid_t pid = serve("220 mail.example.org ESMTP\r\n", 0, url);
	run(url, 1000, 5000, true);
	assert_int_equal(result.error, ERR_FORMAT);
	end(pid);
}

static void
this_machine_is_reached_on_purpose_only(void **state)
{
	char url[64];
	(void)state;
	pid_t pid = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, url);
	run(url, 1000, 5000, false);
	assert_int_equal(result.error, ERR_DENIED);
	end(pid);
}

static void
urls_are_read_strictly(void **state)
{
	struct transfer_url u;
	(void)state;
	static const char *const wrong[] = {"",
					    "ftp://a.test/",
					    "file:///etc/passwd",
					    "https://u:p@a.test/",
					    "https://a.test/#x",
					    "https://a test/",
					    "https://a.test:99999/",
					    "gopher://a.test"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(transfer_url_read(bytes_str(wrong[i]), &u), ERR_FORMAT);
	}
	assert_int_equal(transfer_url_read(BYTES_LIT("https://mta-sts.a.test/x"), &u), ERR_OK);
	assert_true(u.https && !u.numeric && u.port == 443);
	assert_string_equal(u.host, "mta-sts.a.test");
	assert_int_equal(transfer_url_read(BYTES_LIT("http://[::1]:8080/"), &u), ERR_OK);
	assert_true(!u.https && u.numeric && u.port == 8080);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_answer_comes_with_its_headers),
	    cmocka_unit_test(a_server_that_says_nothing_is_left),
	    cmocka_unit_test(a_body_without_end_is_cut_off),
	    cmocka_unit_test(what_is_no_http_is_refused),
	    cmocka_unit_test(this_machine_is_reached_on_purpose_only),
	    cmocka_unit_test(urls_are_read_strictly),
	};
	if (loop_create(&loop) != ERR_OK || transfer_create(loop, BYTES_EMPTY, &engine) != ERR_OK) {
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
