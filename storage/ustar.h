/*
 * The POSIX ustar header, written so that the same name and size always give the same 512 bytes,
 * and so that readers which parse tar by hand (wids, webshart) find what they expect: mode 0644,
 * everything about owner and time zero, sizes as 11 octal digits and NUL, name in the name field
 * alone.
 */
#ifndef LATENTD_STORAGE_USTAR_H
#define LATENTD_STORAGE_USTAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USTAR_BLOCK    512
#define USTAR_NAME_MAX 100
#define USTAR_SIZE_MAX 077777777777ull /* 11 octal digits: 8 GiB - 1 */

/* A regular file's header. @name: 1 to USTAR_NAME_MAX bytes, @size: up to USTAR_SIZE_MAX. */
void ustar_header(uint8_t block[USTAR_BLOCK], const char *name, uint64_t size);

/* Zero bytes behind a member of @size bytes, up to the next block. */
static inline size_t ustar_padding(uint64_t size)
{
	return (size_t)((USTAR_BLOCK - size % USTAR_BLOCK) % USTAR_BLOCK);
}

#endif
