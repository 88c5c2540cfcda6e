/*
 * From what --vae says to files on this machine. In this order it is
 *	a path that exists        "models/sd-vae-ft-mse", "ae.safetensors"
 *	a preset (vae_presets.h)  "sdxl": one of its repositories in the local Hugging Face cache
 *	a hub id                  "stabilityai/sd-vae-ft-mse": that repository in the cache
 * Nothing is downloaded: what is not in the cache is an error with the command that puts it there.
 *
 * The cache is $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
 * ~/.cache/huggingface/hub; of a repository the revision counts that its branch main had when it was last downloaded.
 */
#ifndef LATENTD_DAEMON_VAE_LOCATE_H
#define LATENTD_DAEMON_VAE_LOCATE_H

#include "base/error.h"
#include "config/vae_presets.h"

struct vae_place {
	char *path;
	char *name; /* for people, and for a dataset's name: "sdxl", "sd-vae-ft-mse", "ae" */
	const struct vae_preset *preset; /* that the name stands for; NULL: files must tell */
};

/* ERR_CONFIG. Release @out after success. */
int vae_locate(const char *vae, struct vae_place *out, struct error *err);
void vae_place_release(struct vae_place *place);

#endif
