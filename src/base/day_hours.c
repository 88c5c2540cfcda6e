/*
 * The next change is looked for minute by minute: a few thousand steps at most, and right whatever the zone does.
 */
#include "base/day_hours.h"

#include <ctype.h>
#include <time.h>

enum { DAY = 24 * 60, MINUTE_MS = 60 * 1000 };

static bool is_digit(char c)
{
	return isdigit((unsigned char)c) != 0;
}

/* "HH:MM" at *@text, which is moved behind it. False: it is not one. */
static bool take_time(const char **text, unsigned *minutes)
{
	const char *t = *text;
	unsigned hour, minute;

	if (!is_digit(t[0]) || !is_digit(t[1]) || t[2] != ':' || !is_digit(t[3]) || !is_digit(t[4]))
		return false;
	hour = (unsigned)(t[0] - '0') * 10 + (unsigned)(t[1] - '0');
	minute = (unsigned)(t[3] - '0') * 10 + (unsigned)(t[4] - '0');
	*minutes = hour * 60 + minute;
	*text = t + 5;
	return minute < 60 && *minutes <= DAY;
}

bool day_hours_parse(const char *text, struct day_hours *out)
{
	struct day_hours h = {0, 0};

	if (!take_time(&text, &h.from) || *text++ != '-' || !take_time(&text, &h.until) || *text)
		return false;
	if (h.from == DAY || h.from == h.until)
		return false;
	*out = h;
	return true;
}

bool day_hours_valid(const char *text)
{
	struct day_hours h;

	return day_hours_parse(text, &h);
}

bool day_hours_hold(const struct day_hours *h, int64_t at)
{
	time_t seconds = (time_t)(at / 1000);
	struct tm local;
	unsigned now;

	if (!localtime_r(&seconds, &local))
		return true; /* a year that there is no calendar for */
	now = (unsigned)local.tm_hour * 60 + (unsigned)local.tm_min;
	return h->from < h->until ? h->from <= now && now < h->until
				  : h->from <= now || now < h->until;
}

int64_t day_hours_change(const struct day_hours *h, int64_t at)
{
	bool holds = day_hours_hold(h, at);
	int64_t first = at - at % MINUTE_MS + MINUTE_MS;

	for (int64_t t = first; t < first + (int64_t)3 * DAY * MINUTE_MS; t += MINUTE_MS) {
		if (day_hours_hold(h, t) != holds)
			return t;
	}
	return 0;
}
