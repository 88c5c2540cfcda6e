/*
 * Letters of 5 x 8 dots, for pictures that have to say something.
 */
#ifndef LATENTD_DAEMON_LETTERS_H
#define LATENTD_DAEMON_LETTERS_H

#include <stdint.h>

enum { LETTER_WIDTH = 5, LETTER_HEIGHT = 8 };

/* The columns of @c from left to right; bit 0 is the uppermost dot. What is not printable ASCII is a question mark. */
const uint8_t *letter_columns(char c);

#endif
