#include "base/note.h"

#include <stdarg.h>
#include <stdio.h>

void note_tell(note_fn note, void *arg, const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	note(arg, line);
}
