# Tests of daemon/.
foreach(name bottleneck config_check decode_protocol encode_model eta id_table latent_colors memory_budget outcome_judge rate spool_index recipe picture_cache pixel_setup plan
	plan_output skip_policy sources watchdog)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS latentd_daemon)
endforeach()
add_library(output_rig STATIC unit/output_rig.c)
target_link_libraries(output_rig PUBLIC latentd_testing latentd_daemon)
foreach(name output output_state output_dataset)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS output_rig)
endforeach()
add_library(golden_record STATIC unit/golden_record.c)
target_link_libraries(golden_record PUBLIC latentd_testing latentd_daemon)
foreach(name record_build record_facts)
	add_cmocka_test(NAME test_${name} SOURCES unit/test_${name}.c LIBS golden_record)
endforeach()
add_cmocka_test(NAME test_vae_choice SOURCES unit/test_vae_choice.c LIBS latentd_kl_testing latentd_daemon)
add_cmocka_test(NAME test_header_fd SOURCES unit/test_header_fd.c LIBS latentd_image)
add_cmocka_test(NAME test_confine SOURCES unit/test_confine.c LIBS latentd_confine)
add_cmocka_test(NAME test_stage_meter SOURCES unit/test_stage_meter.c LIBS latentd_daemon LABELS tsan)
add_cmocka_test(NAME test_notices SOURCES unit/test_notices.c LIBS latentd_daemon PkgConfig::JANSSON)
add_cmocka_test(NAME test_history SOURCES unit/test_history.c LIBS latentd_daemon)
add_cmocka_test(NAME test_api_turn SOURCES unit/test_api_turn.c LIBS latentd_daemon LABELS tsan)
add_cmocka_test(NAME test_event_log SOURCES unit/test_event_log.c LIBS latentd_daemon LABELS tsan)
add_cmocka_test(NAME test_executor SOURCES unit/test_executor.c LIBS latentd_daemon LABELS tsan)
add_cmocka_test(NAME test_service_status SOURCES unit/test_service_status.c LIBS latentd_daemon
	LABELS tsan)
add_cmocka_test(NAME test_db_queue SOURCES contract/test_db_queue.c
	LIBS latentd_daemon contract_queue LABELS tsan)

# Components: several modules of daemon/ together, with real and with lying decode workers.
add_library(hostile_calls STATIC component/hostile_calls.c)
target_link_libraries(hostile_calls PUBLIC latentd_base)
add_executable(lying_worker component/lying_worker.c)
target_link_libraries(lying_worker PRIVATE latentd_daemon latentd_confine hostile_calls)
add_library(decode_rig STATIC component/decode_rig.c)
target_link_libraries(decode_rig PUBLIC latentd_testing latentd_daemon)
foreach(name decode_pool decode_pool_lies decode_pool_blame decode_pool_resize)
	add_cmocka_test(NAME test_${name} SOURCES component/test_${name}.c LIBS decode_rig)
	add_dependencies(test_${name} latentd-decode lying_worker)
endforeach()
target_link_libraries(test_decode_pool_lies PRIVATE hostile_calls)
target_link_options(test_decode_pool_lies PRIVATE -Wl,--wrap=posix_spawn)
target_link_options(test_decode_pool_resize PRIVATE -Wl,--wrap=posix_spawn)
add_cmocka_test(NAME test_encode_driver SOURCES component/test_encode_driver.c LIBS latentd_daemon
	LABELS tsan)
add_library(engines_rig STATIC component/engines_rig.c)
target_link_libraries(engines_rig PUBLIC latentd_testing latentd_daemon)
add_cmocka_test(NAME test_engines SOURCES component/test_engines.c LIBS engines_rig LABELS tsan)
add_cmocka_test(NAME test_engines_change SOURCES component/test_engines_change.c
	LIBS engines_rig LABELS tsan)
add_cmocka_test(NAME test_engines_endpoints SOURCES component/test_engines_endpoints.c
	LIBS engines_rig latentd_vae_endpoint LABELS tsan)
add_library(run_rig STATIC component/run_rig.c)
target_link_libraries(run_rig PUBLIC latentd_testing latentd_daemon)
add_cmocka_test(NAME test_packer SOURCES component/test_packer.c LIBS run_rig LABELS tsan)
add_cmocka_test(NAME test_packer_upload SOURCES component/test_packer_upload.c LIBS run_rig LABELS tsan)
target_link_options(test_packer PRIVATE -Wl,--wrap=fdatasync)
add_cmocka_test(NAME test_lane_counts SOURCES component/test_lane_counts.c LIBS latentd_daemon LABELS tsan)
add_cmocka_test(NAME test_recovery SOURCES component/test_recovery.c LIBS run_rig)
add_cmocka_test(NAME test_rewrite SOURCES component/test_rewrite.c storage_faults.c LIBS run_rig)
foreach(call write fsync fdatasync renameat2 rename link unlink mkdir mkdirat ftruncate)
	target_link_options(test_rewrite PRIVATE -Wl,--wrap=${call})
endforeach()
add_cmocka_test(NAME test_upkeep SOURCES component/test_upkeep.c LIBS run_rig)
add_library(pipeline_rig STATIC component/pipeline_rig.c)
target_link_libraries(pipeline_rig PUBLIC run_rig)
foreach(name pipeline pipeline_ends pipeline_content)
	add_cmocka_test(NAME test_${name} SOURCES component/test_${name}.c LIBS pipeline_rig LABELS tsan)
	add_dependencies(test_${name} latentd-decode lying_worker)
endforeach()

add_library(intake_rig STATIC component/intake_rig.c)
target_link_libraries(intake_rig PUBLIC latentd_testing latentd_daemon)
add_cmocka_test(NAME test_intake SOURCES component/test_intake.c LIBS intake_rig LABELS tsan)
set_property(TEST test_intake PROPERTY COST 55) # it waits for files to settle
target_link_options(test_intake PRIVATE -Wl,--wrap=inotify_add_watch)

add_fuzz_target(NAME fuzz_decode_protocol SOURCES fuzz/fuzz_decode_protocol.c LIBS latentd_daemon)
add_fuzz_target(NAME fuzz_record_facts SOURCES fuzz/fuzz_record_facts.c LIBS latentd_daemon)
add_cmocka_test(NAME test_serve_ask SOURCES unit/test_serve_ask.c LIBS latentd_daemon)
add_cmocka_test(NAME test_serve_server SOURCES component/test_serve_server.c LIBS latentd_daemon LABELS tsan)
add_dependencies(test_serve_server latentd-decode)
add_fuzz_target(NAME fuzz_caption_list SOURCES fuzz/fuzz_caption_list.c LIBS latentd_daemon)
add_fuzz_target(NAME fuzz_import_kohya SOURCES fuzz/fuzz_import_kohya.c LIBS latentd_daemon)
add_fuzz_target(NAME fuzz_serve_ask SOURCES fuzz/fuzz_serve_ask.c LIBS latentd_daemon)
add_fuzz_target(NAME fuzz_api SOURCES fuzz/fuzz_api.c LIBS latentd_daemon PkgConfig::JANSSON)

# Damaged image files through the confined decoder; by hand with --files 1000000 and more folders.
add_executable(mutate_worker component/mutate_worker.c component/mutate_bytes.c)
target_link_libraries(mutate_worker PRIVATE latentd_daemon)
add_dependencies(mutate_worker latentd-decode)
add_test(NAME mutate_worker COMMAND mutate_worker --files 2000 --seed 1
	$<TARGET_FILE:latentd-decode> ${CMAKE_CURRENT_SOURCE_DIR}/golden/images)
set_tests_properties(mutate_worker PROPERTIES TIMEOUT 300)
add_cmocka_test(NAME test_log_file SOURCES unit/test_log_file.c
	LIBS latentd_daemon PkgConfig::JANSSON LABELS tsan)
add_cmocka_test(NAME test_status_text SOURCES unit/test_status_text.c
	LIBS latentd_daemon PkgConfig::JANSSON)

# The API over real sockets, and a program that serves it without a daemon behind it.
add_library(api_rig STATIC component/api_rig.c)
target_link_libraries(api_rig PUBLIC latentd_daemon)
add_library(api_caller STATIC component/api_caller.c)
target_link_libraries(api_caller PUBLIC latentd_testing api_rig PkgConfig::JANSSON)
foreach(name api_server api_reading api_commands)
	add_cmocka_test(NAME test_${name} SOURCES component/test_${name}.c LIBS api_caller LABELS tsan)
endforeach()
add_cmocka_test(NAME test_api_clients SOURCES component/test_api_clients.c
	LIBS api_rig LABELS tsan)
add_executable(api_test_server component/api_test_server.c)
target_link_libraries(api_test_server PRIVATE api_rig)

# Archives through the real latentd-unpack, and through one that lies.
add_executable(lying_unpack component/lying_unpack.c)
target_link_libraries(lying_unpack PRIVATE latentd_daemon)
add_cmocka_test(NAME test_unpack_process SOURCES component/test_unpack_process.c
	LIBS latentd_daemon archive_samples)
add_dependencies(test_unpack_process latentd-unpack lying_unpack)
add_fuzz_target(NAME fuzz_unpack_protocol SOURCES fuzz/fuzz_unpack_protocol.c LIBS latentd_daemon)
