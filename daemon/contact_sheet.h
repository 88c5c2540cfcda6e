/*
 * A sheet of small pictures with lines of text below them.
 *
 *	contact_sheet_new(cells, &sheet, err)
 *	contact_sheet_picture(sheet, cell, 0, &image, err)       left; 1: right
 *	contact_sheet_text(sheet, cell, 0, "holiday/beach")
 *	... contact_sheet_image(sheet) ...
 *	contact_sheet_free(sheet)
 */
#ifndef LATENTD_DAEMON_CONTACT_SHEET_H
#define LATENTD_DAEMON_CONTACT_SHEET_H

#include "image/image.h"

enum { SHEET_SIDE = 192, SHEET_LINES = 3 }; /* pixels of a picture's longer side; lines of a cell */

struct contact_sheet;

/* ERR_NOMEM, ERR_DATA `too_large`. */
int contact_sheet_new(size_t cells, struct contact_sheet **out, struct error *err);
void contact_sheet_free(struct contact_sheet *sheet);

/* Shrunk or enlarged so that it fits. */
int contact_sheet_picture(struct contact_sheet *sheet, size_t cell, size_t place,
			  const struct image *image, struct error *err);
/* What does not fit into the line is cut off; characters that are not ASCII become '?'. */
void contact_sheet_text(struct contact_sheet *sheet, size_t cell, size_t line, const char *text);
const struct image *contact_sheet_image(const struct contact_sheet *sheet);

#endif
