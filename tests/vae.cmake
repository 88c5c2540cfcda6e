add_executable(vae_run tools/vae_run.c)
target_link_libraries(vae_run PRIVATE latentd_vae)
