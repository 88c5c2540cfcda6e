#include "queue/open_scan.h"

#include <stdlib.h>

struct open_scan **open_scan_of(struct open_scan **list, int64_t dataset)
{
	while (*list && (*list)->dataset != dataset)
		list = &(*list)->next;
	return list;
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
