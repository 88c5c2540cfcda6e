/*
 * What usually goes wrong, looked at and said with its remedy: before a start, and when something is odd.
 */
#include "daemon/commands.h"
#include "daemon/config_check.h"
#include "daemon/ctl_api.h"
#include "daemon/ctl_source.h"
#include "daemon/doctor.h"
#include "daemon/json_text.h"
#include "daemon/text_lines.h"

#include "base/buffer.h"
#include "base/checked.h"

#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const grades[] = {
    [DOCTOR_GOOD] = "ok", [DOCTOR_WARNING] = "warning", [DOCTOR_BAD] = "bad"};

static void print_text(void *arg, const struct doctor_finding *f)
{
	static const char *const marks[] = {
	    [DOCTOR_GOOD] = "  ok  ", [DOCTOR_WARNING] = "  !   ", [DOCTOR_BAD] = " BAD  "};
	cleanup_buffer struct buffer text = BUFFER_INIT;

	(void)arg;
	text_clean(&text, f->text);
	printf("%s%-10s %s\n", marks[f->grade], f->what, (const char *)text.data);
	if (f->remedy)
		printf("                 -> %s\n", f->remedy);
	fflush(stdout);
}

static void print_json(void *arg, const struct doctor_finding *f)
{
	json_t *object = json_pack("{s:s, s:s, s:o}", "grade", grades[f->grade], "what", f->what,
				   "text", json_clean(f->text));

	(void)arg;
	if (f->remedy)
		json_object_set_new(object, "remedy", json_string(f->remedy));
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(object);
}

static void print_wait(void *arg, const char *line)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	(void)arg;
	text_clean(&text, line);
	fprintf(stderr, "latentctl doctor: %s\n", (const char *)text.data);
}

/* -- the daemon ------------------------------------------------------------------------------------ */

static void say_daemon(struct doctor *d, json_t *about)
{
	const char *version = json_string_value(json_object_get(about, "version"));

	if (version && strcmp(version, LATENTD_VERSION) != 0)
		doctor_say(d, DOCTOR_WARNING, "daemon", "systemctl restart latentd",
			   "version %s is running, %s is installed", version, LATENTD_VERSION);
	else
		doctor_say(d, DOCTOR_GOOD, "daemon", NULL,
			   "it runs and answers: latentctl status says the rest");
}

static void look_at_daemon(struct doctor *d, const struct daemon_config *config)
{
	struct error err = ERROR_INIT;
	struct ctl_api *api = NULL;
	json_t *about = NULL;
	int r = ctl_api_open(config->api.socket, &api, &err);

	if (r == 0)
		r = ctl_api_get(api, "/api/v1", &about, &err);
	if (r == CTL_API_NOBODY)
		doctor_say(d, DOCTOR_GOOD, "daemon", NULL, "not running");
	else if (r < 0)
		doctor_say(d, DOCTOR_BAD, "daemon", "journalctl -u latentd", "%s", err.message);
	else
		say_daemon(d, about);
	json_decref(about);
	ctl_api_close(api);
}

/* -- whose rights are looked at -------------------------------------------------------------------- */

/* What root may do says nothing of what the service may. */
static void look_at_user(struct doctor *d, const struct daemon_config *config)
{
	const struct passwd *service = getpwnam("latentd");
	struct stat state;

	if (geteuid() != 0)
		return;
	if (service || (stat(config->state_dir, &state) == 0 && state.st_uid != 0))
		doctor_say(d, DOCTOR_WARNING, "user", "runuser -u latentd -- latentctl doctor",
			   "root may read and write everything: rights are not looked at");
}

/* -- all of it ------------------------------------------------------------------------------------- */

static void look_at_all(struct doctor *d, const char *file)
{
	struct error err = ERROR_INIT;
	struct daemon_config *config = NULL;

	if (config_check(file, &config, &err) < 0) {
		doctor_say(d, DOCTOR_BAD, "settings",
			   "docs/CONFIG.md has every setting; nothing else is looked at before",
			   "%s", err.message);
		return;
	}
	doctor_say(d, DOCTOR_GOOD, "settings", NULL, "%s: datasets %zu, encoders %zu; models found",
		   config->file, config->n_datasets, config->n_encoders);
	look_at_user(d, config);
	doctor_machine(d, config);
	doctor_folders(d, config);
	doctor_encoders(d, config);
	look_at_daemon(d, config);
	daemon_config_free(config);
}

int cmd_doctor(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"config json", 0,
						    "doctor [--config FILE] [--json]"};
	struct read_options options = {.json = false};
	struct doctor doctor = {.found = print_text, .waits = print_wait};
	int r = read_options_parse(argc, argv, &command, &options);

	(void)err;
	if (r != 0)
		return read_options_exit(r);
	if (options.json)
		doctor.found = print_json;
	look_at_all(&doctor, options.config ? options.config : DAEMON_CONFIG_DEFAULT);
	return doctor.worst == DOCTOR_BAD ? EXIT_FAILED : EXIT_OK;
}
