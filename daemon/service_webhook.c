/* What is told to those who do not look. */
#include "daemon/service_parts.h"

#include "base/clock.h"

/* On the webhook's thread. */
static void on_line(void *arg, enum log_event event, const char *line)
{
	daemon_log_write(((struct service *)arg)->log, event, NULL, line);
}

int service_open_webhook(struct service *s, struct error *err)
{
	s->webhook = webhook_new(on_line, s);
	s->notices = notices_new();
	return webhook_set(s->webhook, &s->config->webhook, err);
}

void service_reload_webhook(struct service *s)
{
	struct error err = ERROR_INIT;

	if (webhook_set(s->webhook, &s->config->webhook, &err) < 0)
		service_log(s, LOG_PLAIN_ERROR, NULL, "webhook: %s", err.message);
}

static void on_notice(void *arg, char *body)
{
	webhook_post(((struct service *)arg)->webhook, body);
}

void service_picture_webhook(struct service *s, struct service_status *p)
{
	struct webhook_view view;

	notices_look(s->notices, &s->config->webhook, p, clock_mono_ms(), on_notice, s);
	webhook_view(s->webhook, &view);
	p->webhook = (struct service_webhook){.server = view.server,
					      .waiting = view.waiting,
					      .sent = view.sent,
					      .lost = view.lost,
					      .why = view.why};
}

void service_close_webhook(struct service *s)
{
	webhook_close(s->webhook, WEBHOOK_END_MS);
	notices_free(s->notices);
}
