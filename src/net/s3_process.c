#include "net/s3_process.h"

#include "base/checked.h"
#include "base/program_output.h"

#include <string.h>

enum { TIMEOUT_MS = 30 * 1000, OUTPUT_MAX = 64 << 10 };

/* -- words -------------------------------------------------------------------------------------------- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The word at @at goes to *to, without its quotes. NULL: it does not end. */
static const char *take_word(const char *at, char **to)
{
	char quote = '\0';

	for (; *at && (quote || !is_space(*at)); at++) {
		bool protects = *at == '\\' && (!quote || (quote == '"' && strchr("\"\\", at[1])));

		if (protects && at[1] == '\0')
			return NULL;
		if (protects)
			*(*to)++ = *++at;
		else if (*at == quote)
			quote = '\0';
		else if (!quote && (*at == '"' || *at == '\''))
			quote = *at;
		else
			*(*to)++ = *at;
	}
	*(*to)++ = '\0';
	return quote ? NULL : at;
}

int s3_process_split(const char *line, char ***out, struct error *err)
{
	size_t length = strlen(line), words_max = length / 2 + 1, n = 0;
	char **words = xmalloc((words_max + 1) * sizeof(*words) + length + 1);
	char *text = (char *)(words + words_max + 1);

	for (const char *at = line; is_space(*at) || *at;) {
		if (is_space(*at)) {
			at++;
			continue;
		}
		words[n++] = text;
		at = take_word(at, &text);
		if (!at) {
			free(words);
			return error_set(err, ERR_CONFIG, "a quote in it does not end");
		}
	}
	words[n] = NULL;
	if (n == 0 || words[0][0] == '\0') {
		free(words);
		return error_set(err, ERR_CONFIG, "it names no program");
	}
	*out = words;
	return 0;
}

/* -- keys --------------------------------------------------------------------------------------------- */

int s3_process_keys(const char *line, struct s3_issued *out, struct error *err)
{
	cleanup_free char **argv = NULL;
	struct buffer text = BUFFER_INIT;
	int r = s3_process_split(line, &argv, err);

	if (r == 0)
		r = program_output((const char *const *)argv, TIMEOUT_MS, OUTPUT_MAX, &text, err);
	if (r == 0)
		r = s3_issued_parse_program(text.data, text.size, out, err);
	if (text.data)
		explicit_bzero(text.data, text.size);
	buffer_release(&text);
	return r < 0 ? error_wrap(err, "credential_process") : 0;
}
