/*
 * System calls that a decoder which was taken over would try. None may work in a confined process.
 */
#ifndef LATENTD_TESTS_COMPONENT_HOSTILE_CALLS_H
#define LATENTD_TESTS_COMPONENT_HOSTILE_CALLS_H

#include <stdbool.h>
#include <stddef.h>

struct hostile_call {
	const char *name;
	long number;
	long arguments[5];
	bool sanitizers_need; /* and therefore may use, in their builds */
};

extern const struct hostile_call hostile_calls[];
extern const size_t hostile_calls_count;

/* The result of the system call, if the process lives to see it. */
long hostile_call_try(const struct hostile_call *call);

#endif
