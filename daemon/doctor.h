/*
 * What usually goes wrong on a machine, looked at before it does: `latentctl doctor`.
 *
 *	struct doctor doctor = {.found = on_finding, .arg = ...};
 *	doctor_machine(&doctor, config);
 *	doctor_folders(&doctor, config);
 *	doctor_encoders(&doctor, config);
 *	... doctor.worst ...
 *
 * Nothing is made or changed, and no daemon is needed. What it may do is asked of the system for the user who runs it, so
 * it is best run as the user of the service.
 */
#ifndef LATENTD_DAEMON_DOCTOR_H
#define LATENTD_DAEMON_DOCTOR_H

#include "config/daemon_config.h"

enum doctor_grade {
	DOCTOR_GOOD,
	DOCTOR_WARNING, /* it works, but not as well as it could, or not for long */
	DOCTOR_BAD,	/* it does not work */
};

struct doctor_finding {
	enum doctor_grade grade;
	const char *what;   /* "clock", "source", "endpoint" */
	char text[1024];    /* what was found, one line */
	const char *remedy; /* what to do; NULL: nothing */
};

struct doctor {
	/* Called at once for each finding, whose strings are valid during the call. */
	void (*found)(void *arg, const struct doctor_finding *finding);
	/* One line about what takes long. May be NULL. */
	void (*waits)(void *arg, const char *line);
	void *arg;
	enum doctor_grade worst;
};

/* For the parts below. @remedy may be NULL. */
void doctor_say(struct doctor *d, enum doctor_grade grade, const char *what, const char *remedy,
		const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Clock, memory, cores, what the kernel has to shut decoders in. */
void doctor_machine(struct doctor *d, const struct daemon_config *config);
/* State, sources and outputs: rights, room, file systems, and watches for all folders. A bucket has ten seconds to answer. */
void doctor_folders(struct doctor *d, const struct daemon_config *config);
/* Processor, GPUs and their plugin; each endpoint is asked once, with its token. */
void doctor_encoders(struct doctor *d, const struct daemon_config *config);

#endif
