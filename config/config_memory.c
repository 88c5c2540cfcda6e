#include "config/config_memory.h"

#include "base/checked.h"

struct config_memory {
	void **blocks;
	size_t n, capacity;
};

struct config_memory *config_memory_new(void)
{
	return xcalloc(1, sizeof(struct config_memory));
}

void config_memory_free(struct config_memory *memory)
{
	if (!memory)
		return;
	for (size_t i = 0; i < memory->n; i++)
		free(memory->blocks[i]);
	free(memory->blocks);
	free(memory);
}

static void *keep(struct config_memory *memory, void *block)
{
	ARRAY_GROW(memory->blocks, memory->n, memory->capacity);
	memory->blocks[memory->n++] = block;
	return block;
}

void *config_memory_items(struct config_memory *memory, size_t count, size_t size)
{
	return count == 0 ? NULL : keep(memory, xcalloc(count, size));
}

char *config_memory_take(struct config_memory *memory, char *text)
{
	return keep(memory, text);
}

char *config_memory_copy(struct config_memory *memory, const char *text)
{
	return text ? keep(memory, xstrdup(text)) : NULL;
}
