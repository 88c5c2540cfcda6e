/*
 * One at a time, of those that draw pictures for the API: who has the turn, who waits for it, and for how long each.
 *
 *	turn = api_turn_new()
 *	if (api_turn_take(turn, err) == 0) {            any thread
 *		... api_turn_is_over(turn) ...          from time to time, any thread: true: give up
 *		api_turn_end(turn);
 *	}
 *	api_turn_close(turn); ... while (api_turn_is_taken(turn)) ...
 *	api_turn_free(turn)
 *
 * A turn lasts API_TURN_MS, a wait as long. At most API_TURN_WAITING wait: each has a thread and a connection of the API, of
 * which others want some.
 */
#ifndef LATENTD_DAEMON_API_TURN_H
#define LATENTD_DAEMON_API_TURN_H

#include "base/error.h"

#include <stdbool.h>

#define API_TURN_MS	 10000
#define API_TURN_WAITING 16

struct api_turn;

struct api_turn *api_turn_new(void);
/* When nobody asks any more. NULL is fine. */
void api_turn_free(struct api_turn *t);
/* Who comes from now on, or waits, is refused; whoever has the turn is told that it is over. */
void api_turn_close(struct api_turn *t);
/* ERR_TRANSIENT: not now. */
int api_turn_take(struct api_turn *t, struct error *err);
void api_turn_end(struct api_turn *t);
bool api_turn_is_taken(struct api_turn *t);
/* @turn: a struct api_turn that is taken. */
bool api_turn_is_over(void *turn);

#endif
