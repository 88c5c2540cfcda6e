/*
 * Private to the files daemon_check*.c: one look at a configuration, and where in its file something stands.
 */
#ifndef LATENTD_CONFIG_DAEMON_CHECK_PARTS_H
#define LATENTD_CONFIG_DAEMON_CHECK_PARTS_H

#include "config/daemon_config.h"
#include "config/yaml_tree.h"

struct daemon_check {
	const struct daemon_config *config;
	const struct yaml_node *tree;
	bool look;
};

/* -- daemon_check_places.c: what a message is about ----------------------------------------------- */

/* A way down from there, for the functions below. */
#define CHECK_NAMES(...)                                                                           \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

struct config_place check_at_top(const struct daemon_check *c, const char *const *names);
struct config_place check_in_dataset(const struct daemon_check *c, size_t i,
				     const char *const *names);
struct config_place check_in_source(const struct daemon_check *c, size_t dataset, size_t source);
struct config_place check_in_encoder(const struct daemon_check *c, size_t i,
				     const char *const *names);
/* -1, with "FILE:LINE:COLUMN: ..." */
__attribute__((format(printf, 4, 5))) int check_refuse(const struct daemon_check *c,
						       struct config_place place, struct error *err,
						       const char *fmt, ...);

/* -- the subjects; 0, or -1 with ERR_CONFIG -------------------------------------------------------- */

/* daemon_check_encoders.c: each by itself, and that every dataset has one */
int check_encoders(const struct daemon_check *c, struct error *err);
/* daemon_check_encoders.c: and that one can encode for it */
int check_serve(const struct daemon_check *c, struct error *err);
/* daemon_check_folders.c: that they lie apart and, where it looks, what is there */
int check_folders(const struct daemon_check *c, struct error *err);

#endif
