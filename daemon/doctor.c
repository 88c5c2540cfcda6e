#include "daemon/doctor.h"

#include "daemon/confine.h"
#include "daemon/program.h"

#include "base/memory_allowed.h"
#include "base/text.h"
#include "base/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/timex.h>
#include <unistd.h>

void doctor_say(struct doctor *d, enum doctor_grade grade, const char *what, const char *remedy,
		const char *format, ...)
{
	struct doctor_finding finding = {.grade = grade, .what = what, .remedy = remedy};
	va_list args;

	va_start(args, format);
	vsnprintf(finding.text, sizeof(finding.text), format, args);
	va_end(args);
	d->found(d->arg, &finding);
	if (grade > d->worst)
		d->worst = grade;
}

static void look_at_clock(struct doctor *d)
{
	struct timex now = {.modes = 0};
	int state = adjtimex(&now);

	if (state < 0) /* as in containers, whose host keeps it */
		doctor_say(d, DOCTOR_GOOD, "clock", NULL,
			   "whether it is kept right is not told: %s", strerror(errno));
	else if (state == TIME_ERROR || (now.status & STA_UNSYNC))
		doctor_say(d, DOCTOR_WARNING, "clock",
			   "let it be set by the network: timedatectl set-ntp true",
			   "nothing keeps it right; times in records and logs may be wrong");
	else
		doctor_say(d, DOCTOR_GOOD, "clock", NULL, "kept right");
}

static void look_at_memory(struct doctor *d, const struct daemon_config *config)
{
	size_t allowed = memory_allowed();
	char limit[24], all[24];

	text_bytes(config->memory_limit, limit);
	text_bytes(allowed, all);
	if (config->memory_limit > allowed)
		doctor_say(d, DOCTOR_BAD, "memory", "set memory_limit to half of that or less",
			   "memory_limit is %s, machine and control group allow %s", limit, all);
	else if (config->memory_limit > allowed / 4 * 3)
		doctor_say(d, DOCTOR_WARNING, "memory",
			   "leave room for models and decoders: a smaller memory_limit",
			   "memory_limit is %s of the %s that machine and control group allow",
			   limit, all);
	else
		doctor_say(d, DOCTOR_GOOD, "memory", NULL, "%s of %s for pixels and latents", limit,
			   all);
}

/* Decoders are confined by what the kernel has (confine.h). */
static void look_at_kernel(struct doctor *d)
{
	unsigned landlock = confine_landlock();
	bool seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;

	if (!seccomp)
		doctor_say(d, DOCTOR_WARNING, "kernel",
			   "use a kernel that is built with CONFIG_SECCOMP_FILTER",
			   "no seccomp: decoders of images are hardly shut in");
	else if (landlock == 0)
		doctor_say(d, DOCTOR_GOOD, "kernel", NULL,
			   "seccomp shuts decoders in; no Landlock");
	else
		doctor_say(d, DOCTOR_GOOD, "kernel", NULL,
			   "seccomp and Landlock (version %u) shut decoders in", landlock);
}

static void look_at_cores(struct doctor *d)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	size_t usable = thread_cores();

	doctor_say(d, DOCTOR_GOOD, "cores", NULL, "%zu of %ld may be used", usable, online);
}

void doctor_machine(struct doctor *d, const struct daemon_config *config)
{
	look_at_clock(d);
	look_at_cores(d);
	look_at_memory(d, config);
	look_at_kernel(d);
}
