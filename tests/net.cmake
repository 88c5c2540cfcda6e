# Tests of src/net.
add_cmocka_test(NAME test_http_client SOURCES component/test_http_client.c LIBS latentd_net)
add_cmocka_test(NAME test_vae_wire SOURCES unit/test_vae_wire.c LIBS latentd_net m)
add_fuzz_target(NAME fuzz_vae_wire SOURCES fuzz/fuzz_vae_wire.c LIBS latentd_net)
add_library(latentd_loopback STATIC component/loopback_server.c)
target_link_libraries(latentd_loopback PUBLIC latentd_base)
add_cmocka_test(NAME test_http_multi SOURCES component/test_http_multi.c
	LIBS latentd_net latentd_loopback LABELS tsan)
add_cmocka_test(NAME test_http_names SOURCES component/test_http_names.c
	LIBS latentd_net PkgConfig::CURL)
add_cmocka_test(NAME test_endpoint SOURCES unit/test_endpoint.c LIBS latentd_net)
add_cmocka_test(NAME test_sigv4 SOURCES unit/test_sigv4.c LIBS latentd_net PkgConfig::JANSSON)
add_cmocka_test(NAME test_download SOURCES component/test_download.c
	LIBS latentd_net latentd_loopback LABELS tsan)
add_cmocka_test(NAME test_download_host SOURCES unit/test_download_host.c LIBS latentd_net)
add_cmocka_test(NAME test_host_gate SOURCES unit/test_host_gate.c LIBS latentd_net)
add_cmocka_test(NAME test_http_url SOURCES unit/test_http_url.c LIBS latentd_net)
add_cmocka_test(NAME test_s3_request SOURCES unit/test_s3_request.c LIBS latentd_net)
add_cmocka_test(NAME test_s3 SOURCES component/test_s3.c LIBS latentd_net latentd_loopback LABELS tsan)
add_cmocka_test(NAME test_s3_keys SOURCES component/test_s3_keys.c LIBS latentd_net latentd_loopback LABELS tsan)
add_fuzz_target(NAME fuzz_s3_issued SOURCES fuzz/fuzz_s3_issued.c LIBS latentd_net)
add_fuzz_target(NAME fuzz_s3_xml SOURCES fuzz/fuzz_s3_xml.c LIBS latentd_net)
add_fuzz_target(NAME fuzz_s3_profile SOURCES fuzz/fuzz_s3_profile.c LIBS latentd_net)
