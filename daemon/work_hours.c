#include "daemon/work_hours.h"

#include "base/checked.h"
#include "base/clock.h"

#include <time.h>

void work_hours_set(struct work_hours *w, const char *text)
{
	w->text = text && day_hours_parse(text, &w->hours) ? text : NULL;
	w->resumes_at = 0;
}

void work_hours_pause(struct work_hours *w, bool paused)
{
	w->paused = paused;
	w->resumes_at = 0;
}

bool work_hours_look(struct work_hours *w)
{
	int64_t now = clock_wall_ms();
	bool did = w->rests;
	/* When it resumes is known, and does not change unless the clock is set. */
	bool known = did && w->looked_at <= now && now < w->resumes_at;

	w->looked_at = now;
	if (known)
		return false;
	w->rests = w->paused || (w->text && !day_hours_hold(&w->hours, now));
	w->resumes_at = w->rests && !w->paused ? day_hours_change(&w->hours, now) : 0;
	return w->rests != did;
}

char *work_hours_why(const struct work_hours *w)
{
	time_t at = (time_t)(w->resumes_at / 1000);
	struct tm local;

	if (!w->rests)
		return NULL;
	if (w->paused)
		return xstrdup("paused until it is resumed");
	if (w->resumes_at == 0 || !localtime_r(&at, &local))
		return xasprintf("outside its hours %s", w->text);
	return xasprintf("outside its hours %s, goes on at %02d:%02d", w->text, local.tm_hour,
			 local.tm_min);
}
