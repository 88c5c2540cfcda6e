#include "daemon/commands.h"

#include "base/checked.h"
#include "base/clock.h"

#include "daemon/ctl_source.h"
#include "daemon/status_text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

/* -- as JSON -------------------------------------------------------------------------------------- */

static void print_line(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);

	if (text)
		puts(text);
	free(text);
}

/* Of an output: a line for each dataset, whoever works there. Of a daemon: all that it says, in one. */
static void print_json(const struct read_options *options, const struct ctl_source *source,
		       const json_t *status)
{
	bool running = ctl_source_is_daemon(source) || ctl_source_busy(source);
	json_t *dataset;
	size_t i;

	if (!options->out) {
		print_line(status);
		return;
	}
	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		json_object_set(dataset, "dataset", json_object_get(dataset, "name"));
		json_object_set_new(dataset, "running", json_boolean(running));
		print_line(dataset);
	}
}

/* -- as text -------------------------------------------------------------------------------------- */

/* @rows 0: all of it, however long. */
static void append_text(const struct ctl_source *source, const json_t *status, size_t rows,
			struct buffer *out)
{
	if (!ctl_source_is_daemon(source))
		buffer_appendf(out, "%s\n", ctl_source_owner(source));
	if (rows > 0)
		status_screen(out, status, ctl_source_reach(source), clock_wall_ms(), rows);
	else
		status_text(out, status, ctl_source_reach(source), clock_wall_ms(), STATUS_ALL);
}

static void write_out(const struct buffer *text)
{
	if (text->size > 0)
		fwrite(text->data, 1, text->size, stdout);
}

static int show(const struct read_options *options, struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *status = NULL;
	int r = ctl_source_open(options, &source, err);

	if (r != 0)
		return ctl_ended("status", r, err);
	if (ctl_source_status(source, &status, err) < 0)
		return -1;
	if (options->json) {
		print_json(options, source, status);
	} else {
		append_text(source, status, 0, &text);
		write_out(&text);
	}
	json_decref(status);
	return EXIT_OK;
}

/* -- again and again ------------------------------------------------------------------------------ */

static void measure_terminal(size_t *rows, size_t *columns)
{
	struct winsize w = {.ws_row = 0};
	bool told = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0;

	*rows = told && w.ws_row > 2 ? w.ws_row : 24;
	*columns = told && w.ws_col > 0 ? w.ws_col : 80;
}

static size_t count_lines(const struct buffer *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->size; i++)
		n += text->data[i] == '\n';
	return n;
}

/*
 * In place: what lies behind each line and below the last one is erased. What does not fit is left out, at the right too: a
 * line that went on in a second row would push the first one off the screen. For that the terminal does not wrap meanwhile, because
 * some characters are wider than others.
 */
static void redraw(const struct buffer *text, size_t rows, size_t columns)
{
	size_t lines = count_lines(text), shown, line = 0, column = 0;

	shown = lines < rows ? lines : rows - 2;
	fputs("\033[?7l\033[H", stdout);
	for (size_t i = 0; i < text->size && line < shown; i++) {
		char c = (char)text->data[i];

		if (c == '\n') {
			fputs(column < columns ? "\033[K\n" : "\n", stdout);
			line++;
			column = 0;
			continue;
		}
		column += (c & 0xc0) != 0x80; /* a character begins */
		if (column <= columns)
			fputc(c, stdout);
	}
	if (shown < lines)
		printf("... and %zu more lines\033[K\n", lines - shown);
	fputs("\033[J\033[?7h", stdout);
}

/* What is to be seen now, on a terminal of so many rows (0: none); that a daemon does not answer is part of the picture. */
static int picture(const struct read_options *options, size_t rows, struct buffer *text,
		   struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	json_t *status = NULL;
	int r = ctl_source_open(options, &source, err);

	if (r == 0)
		r = ctl_source_status(source, &status, err);
	if (r == 0 && rows > 0)
		append_text(source, status, rows, text);
	else if (r == 0)
		status_lines(text, status);
	json_decref(status);
	return r;
}

static int watch(const struct read_options *options, struct error *err)
{
	bool terminal = isatty(STDOUT_FILENO) == 1;

	for (bool first = true;; first = false) {
		cleanup_buffer struct buffer text = BUFFER_INIT;
		size_t rows = 0, columns = 0;
		int r;

		if (terminal)
			measure_terminal(&rows, &columns);
		r = picture(options, rows, &text, err);
		if (r != 0 && first)
			return ctl_ended("status", r, err);
		if (r != 0)
			buffer_appendf(&text, "%s\n", err->message);
		error_clear(err);
		if (terminal && first)
			fputs("\033[2J", stdout);
		if (terminal)
			redraw(&text, rows, columns);
		else
			write_out(&text);
		if (fflush(stdout) != 0)
			return EXIT_OK; /* main() says what is wrong with it */
		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	}
}

int cmd_status(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name json watch", 0,
	    "status [--out DIR | --socket PATH] [--name NAME] [--json | --watch]"};
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (options.watch && options.json)
		return read_options_exit(
		    read_options_wrong(argv[0], &command, "--watch and --json do not go together"));
	return options.watch ? watch(&options, err) : show(&options, err);
}
