#include "tests/crash/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const call_names[CALLS] = {
    [CALL_OPEN] = "open",     [CALL_READ] = "read",	    [CALL_WRITE] = "write",
    [CALL_SYNC] = "sync",     [CALL_RENAME] = "rename",	    [CALL_LINK] = "link",
    [CALL_UNLINK] = "unlink", [CALL_TRUNCATE] = "truncate", [CALL_MKDIR] = "mkdir",
    [CALL_MMAP] = "mmap",     [CALL_LOCK] = "lock",	    [CALL_STAT] = "stat",
    [CALL_MALLOC] = "malloc", [CALL_ROOM] = "room",	    [CALL_CHANGE] = "change",
    [CALL_ANY] = "any",
};

static const struct {
	const char *name;
	enum action action;
	int error;
} effects[] = {
    {"EIO", ACTION_FAIL, EIO},
    {"ENOSPC", ACTION_FAIL, ENOSPC},
    {"EDQUOT", ACTION_FAIL, EDQUOT},
    {"EINTR", ACTION_FAIL, EINTR},
    {"ENOMEM", ACTION_FAIL, ENOMEM},
    {"EMFILE", ACTION_FAIL, EMFILE},
    {"EROFS", ACTION_FAIL, EROFS},
    {"EACCES", ACTION_FAIL, EACCES},
    {"ENOLCK", ACTION_FAIL, ENOLCK},
    {"short", ACTION_HALF, 0},
    {"die", ACTION_NONE, 0},
    {"die-half", ACTION_HALF_DIE, 0},
    {"die-after", ACTION_DIE_AFTER, 0},
    {"hang", ACTION_HANG, 0},
    {"stop", ACTION_STOP, 0},
};

enum { DIED = 77 };

__thread int shim_inside __attribute__((tls_model("initial-exec")));

static bool active;
static int report_fd = -1;
static atomic_ulong counts[CALLS];
static atomic_bool fired;

static struct {
	int call; /* -1: none */
	unsigned long n;
	bool from_there_on;
	size_t effect;
} plan = {.call = -1};

bool shim_active(void)
{
	return active && shim_inside == 0;
}

static void report(const char *line, int size)
{
	if (report_fd >= 0 && size > 0)
		syscall(SYS_write, report_fd, line, (size_t)size);
}

static void report_fired(const char *path)
{
	char line[4200];

	if (atomic_exchange(&fired, true))
		return;
	report(line, snprintf(line, sizeof(line), "fired %s %lu %s\n", call_names[plan.call],
			      plan.n, path));
}

void shim_after(enum action action)
{
	if (action == ACTION_DIE_AFTER || action == ACTION_HALF_DIE)
		_exit(DIED);
}

bool shim_fault_to_come(void)
{
	return plan.call >= 0 && !atomic_load(&fired);
}

static bool changes(enum call call)
{
	return call == CALL_WRITE || call == CALL_SYNC || call == CALL_RENAME ||
	       call == CALL_LINK || call == CALL_UNLINK || call == CALL_TRUNCATE ||
	       call == CALL_MKDIR;
}

static bool is_planned(enum call call)
{
	unsigned long n = atomic_fetch_add(&counts[call], 1) + 1;

	return (int)call == plan.call && (n == plan.n || (n > plan.n && plan.from_there_on));
}

enum action shim_decide(enum call call, const char *path)
{
	bool planned = is_planned(call);

	if (call != CALL_MALLOC && call != CALL_ROOM)
		planned = is_planned(CALL_ANY) || planned;
	if (changes(call))
		planned = is_planned(CALL_CHANGE) || planned;
	if (!planned)
		return ACTION_NONE;
	shim_inside++;
	report_fired(path);
	shim_inside--;
	if (effects[plan.effect].action == ACTION_NONE)
		_exit(DIED);
	while (effects[plan.effect].action == ACTION_HANG)
		pause();
	if (effects[plan.effect].action == ACTION_STOP) {
		raise(SIGSTOP);
		return ACTION_NONE;
	}
	errno = effects[plan.effect].error;
	return effects[plan.effect].action;
}

/* -- from the environment -------------------------------------------------------------------------- */

static void give_up(const char *why)
{
	fprintf(stderr, "shim: %s\n", why);
	_exit(DIED + 1);
}

static void read_plan(const char *text)
{
	char kind[16], effect[16], *plus;
	char number[24];

	if (sscanf(text, "%15[^:]:%23[^:]:%15s", kind, number, effect) != 3)
		give_up("SHIM_FAULT is not KIND:N:WHAT");
	for (int i = 0; i < CALLS; i++) {
		if (strcmp(kind, call_names[i]) == 0)
			plan.call = i;
	}
	plan.n = strtoul(number, &plus, 10);
	plan.from_there_on = *plus == '+';
	plan.effect = sizeof(effects) / sizeof(effects[0]);
	for (size_t i = 0; i < sizeof(effects) / sizeof(effects[0]); i++) {
		if (strcmp(effect, effects[i].name) == 0)
			plan.effect = i;
	}
	if (plan.call < 0 || plan.n == 0 || plan.effect == sizeof(effects) / sizeof(effects[0]))
		give_up("SHIM_FAULT names no call or no effect");
}

__attribute__((constructor)) void shim_begin(void)
{
	const char *program = getenv("SHIM_PROGRAM"), *fault = getenv("SHIM_FAULT");
	const char *report_path = getenv("SHIM_REPORT"), *journal = getenv("SHIM_JOURNAL");
	const char *clock = getenv("SHIM_CLOCK"), *roots = getenv("SHIM_ROOTS");
	const char *disk = getenv("SHIM_DISK");

	if (!program || strcmp(program, program_invocation_short_name) != 0)
		return;
	if (report_path)
		report_fd = (int)syscall(SYS_openat, AT_FDCWD, report_path,
					 O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fault)
		read_plan(fault);
	if (roots)
		shim_files_begin(roots);
	if (journal)
		shim_journal_open(journal);
	if (clock)
		shim_clock_begin(clock);
	if (disk)
		shim_disk_begin(disk);
	active = true;
}

__attribute__((destructor)) static void shim_end(void)
{
	if (!active)
		return;
	active = false;
	for (int i = 0; i < CALLS; i++) {
		char line[64];

		report(line, snprintf(line, sizeof(line), "count %s %lu\n", call_names[i],
				      atomic_load(&counts[i])));
	}
}
