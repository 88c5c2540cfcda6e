#include "queue/open_scan.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

/* More than any queue has had: a number beyond it is damage. */
#define LAST_MAX (INT32_MAX * (int64_t)1024)

struct open_scan **open_scan_of(struct open_scan **list, int64_t dataset)
{
	while (*list && (*list)->dataset != dataset)
		list = &(*list)->next;
	return list;
}

int open_scan_begin(struct open_scan **list, int64_t dataset, const uint32_t *roots, size_t n,
		    int64_t last, struct error *err)
{
	struct open_scan *scan;

	if (*open_scan_of(list, dataset))
		return error_set(err, ERR_BUG, "a scan is open already");
	if (last < 0 || last > LAST_MAX)
		return error_set(err, ERR_IO, "queue is damaged: the last job is %lld",
				 (long long)last);
	scan = xcalloc(1, sizeof(*scan));
	scan->dataset = dataset;
	scan->all_roots = !roots;
	scan->roots = xcalloc(n + 1, sizeof(*scan->roots));
	if (n > 0)
		memcpy(scan->roots, roots, n * sizeof(*roots));
	scan->n_roots = n;
	scan->last = last;
	scan->bits = xcalloc((size_t)last / 8 + 1, 1);
	scan->next = *list;
	*list = scan;
	return 0;
}

void open_scan_close(struct open_scan **at)
{
	struct open_scan *scan = *at;

	*at = scan->next;
	free(scan->roots);
	free(scan->bits);
	free(scan);
}

void open_scans_free(struct open_scan **list)
{
	while (*list)
		open_scan_close(list);
}

void open_scans_met(struct open_scan **list, int64_t dataset, int64_t job)
{
	struct open_scan *scan = *open_scan_of(list, dataset);
	uint8_t bit = (uint8_t)(1 << (job & 7));

	if (!scan || job < 1 || job > scan->last || scan->bits[job >> 3] & bit)
		return;
	scan->bits[job >> 3] |= bit;
	scan->met++;
}

bool open_scan_has(const struct open_scan *scan, int64_t job)
{
	return scan->bits[job >> 3] >> (job & 7) & 1;
}
