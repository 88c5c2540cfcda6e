add_library(contract_queue STATIC contract/contract_queue.c contract/contract_queue_enqueue.c
	contract/contract_queue_claims.c contract/contract_queue_catalog.c
	contract/contract_queue_changes.c contract/contract_queue_scans.c contract/contract_queue_swap.c
	contract/contract_queue_captions.c contract/contract_queue_lists.c
	contract/contract_queue_spent.c contract/contract_queue_history.c)
target_link_libraries(contract_queue PUBLIC latentd_testing latentd_queue)

add_cmocka_test(NAME test_queue_contract SOURCES contract/test_queue_contract.c LIBS contract_queue)
add_cmocka_test(NAME test_queue_model SOURCES contract/test_queue_model.c
	contract/queue_model_catalog.c contract/queue_model_lists.c contract/queue_model_sqlite.c
	LIBS contract_queue)
target_compile_definitions(test_queue_model PRIVATE MODEL_ROUNDS=6)
add_cmocka_test(NAME test_queue_sqlite SOURCES unit/test_queue_sqlite.c LIBS contract_queue)
add_cmocka_test(NAME test_queue_migration SOURCES unit/test_queue_migration.c
	LIBS contract_queue PkgConfig::SQLITE)
add_cmocka_test(NAME test_queue_readers SOURCES unit/test_queue_readers.c
	LIBS contract_queue PkgConfig::SQLITE)
add_cmocka_test(NAME test_queue_faults SOURCES unit/test_queue_faults.c LIBS contract_queue)
target_link_options(test_queue_sqlite PRIVATE -Wl,--wrap=statfs)

# Not a test: prints rates, takes a minute.
add_executable(bench_queue bench/bench_queue.c)
target_link_libraries(bench_queue PRIVATE latentd_queue)

# Against a PostgreSQL of its own, which the script starts; skipped where there is none.
if(PQ_FOUND)
	add_library(postgres_server STATIC contract/postgres_server.c)
	target_link_libraries(postgres_server PUBLIC contract_queue latentd_queue_postgres
		PRIVATE PkgConfig::PQ)
	function(add_postgres_test name)
		add_executable(${name} ${ARGN})
		target_link_libraries(${name} PRIVATE postgres_server)
		add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tools/with_postgres.sh
			$<TARGET_FILE:${name}>)
		set_tests_properties(${name} PROPERTIES TIMEOUT 900 COST 30 SKIP_RETURN_CODE 77)
	endfunction()
	add_postgres_test(test_queue_postgres contract/test_queue_postgres.c)
	add_postgres_test(test_queue_postgres_faults contract/test_queue_postgres_faults.c)
	add_postgres_test(test_queue_postgres_nodes contract/test_queue_postgres_nodes.c)
	add_postgres_test(test_queue_postgres_order contract/test_queue_postgres_order.c)
	add_postgres_test(test_queue_postgres_dumps contract/test_queue_postgres_dumps.c)
	add_postgres_test(test_queue_postgres_model contract/test_queue_model.c
		contract/queue_model_catalog.c contract/queue_model_lists.c
		contract/queue_model_postgres.c)
	target_compile_definitions(test_queue_postgres_model PRIVATE MODEL_ROUNDS=1)
	add_test(NAME test_queue_postgres_pooled COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tools/with_postgres.sh
		${CMAKE_CURRENT_SOURCE_DIR}/tools/with_pooler.sh $<TARGET_FILE:test_queue_postgres>)
	set_tests_properties(test_queue_postgres_pooled PROPERTIES TIMEOUT 900 COST 30 SKIP_RETURN_CODE 77)
	add_executable(bench_queue_postgres bench/bench_queue_postgres.c)
	target_link_libraries(bench_queue_postgres PRIVATE postgres_server)
endif()
