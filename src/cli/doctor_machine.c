/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The machine that the house stands on. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/doctor.h"

enum { TEXT_MAX = 64 * 1024, DEVICE_DEPTH = 8, DISK_LOW = 10, DISK_FULL = 2, QUEUE_OLD_HOURS = 24 };

/* A small file of /proc or /sys as text; false where there is none. */
static bool
read_text(const char *path, char *ret, size_t n)
{
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		return false;
	}
	size_t got = fread(ret, 1, n - 1, f);
	ret[got] = '\0';
	(void)fclose(f);
	return true;
}

static void
check_clock(struct doctor *d)
{
	struct timex t;
	memset(&t, 0, sizeof(t));
	int state = adjtimex(&t);
	if (state < 0) {
		doctor_tell(d, DOCTOR_UNKNOWN, "clock", NULL,
			    "the kernel does not say whether the clock is right");
	} else if (state == TIME_ERROR || (t.status & STA_UNSYNC) != 0) {
		doctor_tell(d, DOCTOR_HINT, "clock",
			    "install chrony or systemd-timesyncd: signatures, certificates and the public "
			    "clock need the right time",
			    "no program keeps this machine's clock right");
	} else {
		doctor_tell(d, DOCTOR_GOOD, "clock", NULL, "the clock is kept right");
	}
}

static void
check_disk(struct doctor *d)
{
	struct statvfs s;
	if (statvfs(d->cli->home, &s) != 0 || s.f_blocks == 0) {
		doctor_tell(d, DOCTOR_UNKNOWN, "disk", NULL, "the space of %s is not told", d->cli->home);
		return;
	}
	unsigned percent = (unsigned)(s.f_bavail * 100 / s.f_blocks);
	unsigned inodes = s.f_files == 0 ? 100 : (unsigned)(s.f_favail * 100 / s.f_files);
	unsigned least = percent < inodes ? percent : inodes;
	doctor_tell(
	    d,
	    least < DISK_FULL  ? DOCTOR_BAD
	    : least < DISK_LOW ? DOCTOR_HINT
			       : DOCTOR_GOOD,
	    "disk",
	    "free space, or give the house a larger disk: mail is refused (for a while) when it is full",
	    "%u %% of the disk is free%s", least, inodes < percent ? " (files)" : "");
}

/* Whether a block device, or what it lies on, is encrypted (dm-crypt). */
static bool
is_encrypted(const char *device, unsigned depth)
{
	char path[PATH_MAX];
	char uuid[256] = "";
	bool found = false;
	(void)snprintf(path, sizeof(path), "%s/dm/uuid", device);
	if (read_text(path, uuid, sizeof(uuid)) && strncmp(uuid, "CRYPT-", 6) == 0) {
		return true;
	}
	(void)snprintf(path, sizeof(path), "%s/slaves", device);
	DIR *slaves = depth == 0 ? NULL : opendir(path);
	if (slaves == NULL) {
		return false;
	}
	for (struct dirent *entry = readdir(slaves); entry != NULL && !found; entry = readdir(slaves)) {
		char below[PATH_MAX];
		if (entry->d_name[0] != '.' &&
		    snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < (int)sizeof(below)) {
			found = is_encrypted(below, depth - 1);
		}
	}
	(void)closedir(slaves);
	return found;
}

static void
check_encryption(struct doctor *d)
{
	struct stat s;
	char device[128];
	if (stat(d->cli->home, &s) != 0) {
		return;
	}
	(void)snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", major(s.st_dev), minor(s.st_dev));
	if (access(device, F_OK) != 0) {
		doctor_tell(d, DOCTOR_UNKNOWN, "encryption", "see that the disk below it is encrypted (LUKS)",
			    "which disk %s lies on cannot be seen (a network, overlay or btrfs file system)",
			    d->cli->home);
	} else if (is_encrypted(device, DEVICE_DEPTH)) {
		doctor_tell(d, DOCTOR_GOOD, "encryption", NULL, "the disk of the house is encrypted");
	} else {
		doctor_tell(d, DOCTOR_HINT, "encryption",
			    "put the home on an encrypted disk (LUKS): mail is sealed in any case, but the "
			    "number of records, the "
			    "configuration and the system's own logs are not",
			    "the disk of %s is not encrypted", d->cli->home);
	}
}

static void
check_key(struct doctor *d)
{
	struct stat home;
	struct stat key;
	if (d->config.house_key[0] == '\0' || stat(d->cli->home, &home) != 0 ||
	    stat(d->config.house_key, &key) != 0) {
		doctor_tell(d, DOCTOR_HINT, "house-key", "bring its medium back, or run as who may read it",
			    "the house key file cannot be looked at");
	} else if (home.st_dev == key.st_dev) {
		doctor_tell(d, DOCTOR_HINT, "house-key",
			    "keep it on another medium, which is taken away after the start: whoever seizes "
			    "the disk has both else",
			    "the house key lies on the same disk as what it locks");
	} else {
		doctor_tell(d, DOCTOR_GOOD, "house-key", NULL, "the house key lies on another disk");
	}
}

/* Swap on something that is not encrypted keeps what was in memory. The secrets are locked, mail in flight is not. */
static void
check_swap(struct doctor *d)
{
	char text[TEXT_MAX];
	unsigned plain = 0;
	if (!read_text("/proc/swaps", text, sizeof(text))) {
		doctor_tell(d, DOCTOR_UNKNOWN, "swap", NULL, "/proc/swaps cannot be read");
		return;
	}
	char *line = strchr(text, '\n');
	while (line != NULL && line[1] != '\0') {
		char name[PATH_MAX];
		char device[128];
		struct stat s;
		line++;
		size_t len = strcspn(line, " \t\n");
		(void)snprintf(name, sizeof(name), "%.*s", len < sizeof(name) ? (int)len : 0, line);
		if (name[0] != '\0' && strstr(name, "zram") == NULL) {
			bool sealed = false;
			if (stat(name, &s) == 0) {
				dev_t dev = S_ISBLK(s.st_mode) ? s.st_rdev : s.st_dev;
				(void)snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", major(dev),
					       minor(dev));
				sealed = is_encrypted(device, DEVICE_DEPTH);
			}
			plain += sealed ? 0 : 1;
		}
		line = strchr(line, '\n');
	}
	doctor_tell(d, plain > 0 ? DOCTOR_BAD : DOCTOR_GOOD, "swap",
		    "swapoff -a, or encrypt it with a new key at each start (crypttab: "
		    "swap,cipher=aes-xts-plain64); the systemd "
		    "unit keeps the service out of it (MemorySwapMax=0)",
		    plain > 0 ? "swap is written to a disk in clear"
			      : "nothing is swapped to a disk in clear");
}

static void
check_core(struct doctor *d)
{
	char pattern[PATH_MAX] = "";
	if (!read_text("/proc/sys/kernel/core_pattern", pattern, sizeof(pattern))) {
		return;
	}
	pattern[strcspn(pattern, "\n")] = '\0';
	/* The roles are not dumpable; what is meant is a kernel or administrator that dumps all the same. */
	bool taken = pattern[0] == '|' && strstr(pattern, "/bin/false") == NULL;
	doctor_tell(
	    d, taken ? DOCTOR_HINT : DOCTOR_GOOD, "core-dumps",
	    "sysctl kernel.core_pattern='|/bin/false', or Storage=none in coredump.conf",
	    taken ? "a program collects core dumps; the service asks for none, others here may hold mail"
		  : "no program collects core dumps");
}

/* A number out of the status's lines "role index name value"; UINT64_MAX where it is not there. */
static uint64_t
figure(struct bytes text, const char *name)
{
	while (text.len > 0) {
		ptrdiff_t end = bytes_find(text, '\n');
		struct bytes line = end < 0 ? text : bytes_slice(text, 0, (size_t)end);
		text = bytes_from(text, line.len + 1);
		ptrdiff_t at = bytes_search(line, bytes_str(name));
		uint64_t n;
		if (at > 0 && line.ptr[at - 1] == ' ') {
			struct bytes value = bytes_trim(bytes_from(line, (size_t)at + bytes_str(name).len));
			if (bytes_to_u64(value, UINT64_MAX >> 1, &n) == ERR_OK) {
				return n;
			}
		}
	}
	return UINT64_MAX;
}

/* What the fetcher says of the certificate authority. */
static void
check_acme(struct doctor *d, struct bytes status)
{
	static const char word[] = " acme_problem ";
	ptrdiff_t at = bytes_search(status, BYTES_LIT(word));
	if (d->config.acme != CONFIG_ON) {
		return;
	}
	if (at < 0) {
		doctor_tell(d, DOCTOR_GOOD, "acme", NULL, "certificates are renewed by themselves");
		return;
	}
	struct bytes line = bytes_from(status, (size_t)at + sizeof(word) - 1);
	ptrdiff_t end = bytes_find(line, '\n');
	line = end < 0 ? line : bytes_slice(line, 0, (size_t)end);
	ptrdiff_t remedy = bytes_search(line, BYTES_LIT(" Remedy: "));
	char what[512];
	char how[512];
	(void)snprintf(what, sizeof(what), "%.*s", (int)(remedy < 0 ? line.len : (size_t)remedy),
		       (const char *)line.ptr);
	struct bytes rest =
	    remedy < 0 ? BYTES_LIT("see the service's log") : bytes_from(line, (size_t)remedy + 9);
	(void)snprintf(how, sizeof(how), "%.*s", (int)rest.len, (const char *)rest.ptr);
	doctor_tell(d, DOCTOR_BAD, "acme", how, "%s", what);
}

static void
check_queue(struct doctor *d)
{
	struct buf request = BUF_INIT(16);
	struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
	char path[CLI_PATH_ROOM];
	if (!cli_path(d->cli, "control.sock", path) || access(path, F_OK) != 0) {
		doctor_tell(d, DOCTOR_BAD, "service", "cohue run --home DIR, or systemctl start cohue",
			    "the service does not run");
		return;
	}
	if (buf_append_byte(&request, CONTROL_STATUS) != ERR_OK || !cli_ask(d->cli, &request, &data)) {
		doctor_tell(d, DOCTOR_BAD, "service", "see the service's log", "the service does not answer");
		return;
	}
	uint64_t hours = figure(buf_bytes(&data), "oldest_to_leave_hours");
	bool unready = bytes_search(buf_bytes(&data), BYTES_LIT(" state starting")) >= 0;
	doctor_tell(d, unready ? DOCTOR_BAD : DOCTOR_GOOD, "service",
		    "wait a moment; the service's log says why",
		    unready ? "not every role is ready" : "the service runs");
	check_acme(d, buf_bytes(&data));
	if (hours == UINT64_MAX) {
		doctor_tell(d, DOCTOR_UNKNOWN, "queue", NULL,
			    "how long mail waits is not told before the first full hour");
	} else {
		doctor_tell(d, hours > QUEUE_OLD_HOURS ? DOCTOR_HINT : DOCTOR_GOOD, "queue",
			    "see that the DNS answers and that port 25 is open outwards (many providers "
			    "block it: name a "
			    "smarthost then)",
			    hours > QUEUE_OLD_HOURS ? "some mail has waited for more than a day"
						    : "nothing waits for longer than a day");
	}
	buf_clear(&data);
}

void
doctor_machine(struct doctor *d)
{
	check_clock(d);
	check_disk(d);
	check_encryption(d);
	check_key(d);
	check_swap(d);
	check_core(d);
	check_queue(d);
}
