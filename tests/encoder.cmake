foreach(name encoder encoder_fake encoder_cpu pixel_range)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS latentd_encoder)
endforeach()
target_link_libraries(test_encoder_fake PRIVATE m)
target_link_libraries(test_encoder_cpu PRIVATE latentd_kl_testing m)
add_cmocka_test(NAME test_encoder_contract SOURCES contract/test_encoder_contract.c
	LIBS latentd_encoder latentd_vae_endpoint LABELS tsan)
add_cmocka_test(NAME test_endpoint_model SOURCES component/test_endpoint_model.c
	LIBS latentd_encoder latentd_loopback)
add_fuzz_target(NAME fuzz_endpoint_model SOURCES fuzz/fuzz_endpoint_model.c LIBS latentd_encoder)
add_cmocka_test(NAME test_pixel_planes SOURCES unit/test_pixel_planes.c LIBS latentd_encoder)
add_library(latentd_vae_endpoint STATIC component/vae_endpoint.c)
target_link_libraries(latentd_vae_endpoint PUBLIC latentd_loopback latentd_encoder latentd_net m)
add_library(latentd_remote_rig STATIC component/remote_rig.c)
target_link_libraries(latentd_remote_rig PUBLIC latentd_vae_endpoint latentd_image latentd_testing)
foreach(name encoder_remote remote_faults remote_access remote_limits)
	add_cmocka_test(NAME test_${name} SOURCES component/test_${name}.c
		LIBS latentd_remote_rig LABELS tsan)
endforeach()
