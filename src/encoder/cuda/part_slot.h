/* What belongs to a part under way: the host's ends of its copies, and the events that tell how far it is. */
#ifndef LATENTD_ENCODER_CUDA_PART_SLOT_H
#define LATENTD_ENCODER_CUDA_PART_SLOT_H

#include "part_plans.h"

struct part_slot {
	bool busy;
	uint64_t number; /* of its job */
	uint32_t first, n;
	struct part_plan *plan;
	uint8_t *input; /* of the host, pinned; as all below */
	float *result;
	uint32_t *flags;
	size_t input_size, result_size; /* bytes */
	cudaEvent_t copied, began, computed, done;
};

/* @slot all zero before; close it in any case. */
int part_slot_open(struct part_slot *s, struct latentd_cuda_error *err);
void part_slot_close(struct part_slot *s);
/* At least @bytes of pinned memory at *p; what it held is lost where it grows. */
int part_slot_pin(void **p, size_t *size, size_t bytes, struct latentd_cuda_error *err);

#endif
