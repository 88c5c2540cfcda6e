/* Whoever is told a line, for a person, about something that goes on meanwhile: what was found, done or left out. */
#ifndef LATENTD_BASE_NOTE_H
#define LATENTD_BASE_NOTE_H

typedef void (*note_fn)(void *arg, const char *line);

/* Tells @note a line, which is cut off at 1,023 bytes. */
void note_tell(note_fn note, void *arg, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
