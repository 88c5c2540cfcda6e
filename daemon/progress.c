#include "daemon/progress.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DRAW_EVERY_MS = 200, LINE_EVERY_MS = 10000, RATE_AFTER_MS = 1000 };

struct progress {
	size_t total, done, failed, skipped;
	bool quiet, terminal, drawn;
	int64_t began, last;
	const char *phase;
};

struct progress *progress_new(size_t total, bool quiet)
{
	struct progress *p = xcalloc(1, sizeof(*p));

	p->total = total;
	p->quiet = quiet;
	p->terminal = isatty(STDERR_FILENO) == 1;
	p->began = p->last = clock_mono_ms();
	return p;
}

static void erase(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	p->drawn = false;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	erase(p);
	free(p);
}

void progress_done(struct progress *p)
{
	p->done++;
}

void progress_failed(struct progress *p)
{
	p->failed++;
}

void progress_skipped(struct progress *p)
{
	p->skipped++;
}

void progress_gone(struct progress *p)
{
	if (p->total > 0)
		p->total--;
}

void progress_phase(struct progress *p, const char *phase)
{
	p->phase = phase;
}

static void format_duration(double seconds, char *out, size_t size)
{
	unsigned long s = (unsigned long)(seconds + 0.5);

	if (s >= 3600)
		snprintf(out, size, "%luh%02lum", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		snprintf(out, size, "%lum%02lus", s / 60, s % 60);
	else
		snprintf(out, size, "%lus", s);
}

/* "120/1000 images, 14.2/s, ETA 1m02s, 3 failed" */
static void format_line(const struct progress *p, char *out, size_t size)
{
	double seconds = (double)(clock_mono_ms() - p->began) / 1000;
	double rate = seconds > 0 ? (double)p->done / seconds : 0;
	size_t ended = p->done + p->failed + p->skipped;
	char eta[32] = "-";
	int n;

	if (rate > 0 && ended <= p->total)
		format_duration((double)(p->total - ended) / rate, eta, sizeof(eta));
	n = p->total > 0 ? snprintf(out, size, "%zu/%zu images", p->done, p->total)
			 : snprintf(out, size, "%zu images", p->done);
	if (p->done > 0 && seconds * 1000 >= RATE_AFTER_MS)
		n += snprintf(out + n, size - (size_t)n, ", %.1f/s", rate);
	if (p->phase)
		n += snprintf(out + n, size - (size_t)n, ", %s", p->phase);
	else if (p->total > 0)
		n += snprintf(out + n, size - (size_t)n, ", ETA %s", eta);
	if (p->skipped > 0)
		n += snprintf(out + n, size - (size_t)n, ", %zu skipped", p->skipped);
	if (p->failed > 0)
		snprintf(out + n, size - (size_t)n, ", %zu failed", p->failed);
}

static size_t terminal_width(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

/* The bar takes what the text leaves of the line. */
static void draw(struct progress *p)
{
	char text[160], bar[64];
	size_t width = terminal_width(), length, cells, full;

	format_line(p, text, sizeof(text));
	length = strlen(text);
	cells = p->total > 0 && width > length + 8 ? width - length - 5 : 0;
	if (cells > 40)
		cells = 40;
	full = cells > 0 ? cells * (p->done + p->failed + p->skipped) / p->total : 0;
	if (full > cells)
		full = cells;
	memset(bar, '#', full);
	memset(bar + full, '.', cells - full);
	bar[cells] = '\0';
	if (cells > 0)
		fprintf(stderr, "\r\033[K[%s] %s", bar, text);
	else
		fprintf(stderr, "\r\033[K%.*s", (int)width - 1, text);
	p->drawn = true;
}

void progress_tick(struct progress *p)
{
	int64_t now = clock_mono_ms();
	char text[160];

	if (p->quiet || now - p->last < (p->terminal ? DRAW_EVERY_MS : LINE_EVERY_MS))
		return;
	p->last = now;
	if (p->terminal) {
		draw(p);
		return;
	}
	format_line(p, text, sizeof(text));
	fprintf(stderr, "%s\n", text);
}

void progress_message(struct progress *p, const char *fmt, ...)
{
	va_list args;

	erase(p);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}
