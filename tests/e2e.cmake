# The built programs as a whole, in Python without packages. 77: nothing of it could run here. They begin first (COST):
# the longest should not be alone at the end.
find_package(Python3 3.9 COMPONENTS Interpreter REQUIRED)
foreach(name
	main_job
	archives
	globs
	manifests
	urls
	remote_lists
	buckets
	bad_input
	bad_output
	kill
	damage
	commands
	doctor
	api
	metrics
	dashboard
	api_clients
	webhook
	pictures
	plan
	identity
	masks
	resolutions
	variants
	rewrite
	s3_store
	export
	import
	attach
	rebuild
	indexes
	mds
	repack
	captions
	latent_options
	shells
	config
	daemon
	daemon_steering
	daemon_outages
	daemon_stop
	limits
	log
	operations
	nodes
	network
	node_loss
	models
	notify
	unit
	systemd
	packages
	container
	decode
	serve
	tiny
	serve_decode
	serve_load
	remote
	remote_decode
	remote_http2
	remote_daemon
	migration
	cuda
	recipes
	cuda_decode
	gpu_check
	)
	add_test(NAME e2e_${name} COMMAND ${Python3_EXECUTABLE} -B
		${CMAKE_CURRENT_SOURCE_DIR}/e2e/test_${name}.py)
	set_tests_properties(e2e_${name} PROPERTIES LABELS e2e TIMEOUT 1800 COST 50 SKIP_RETURN_CODE 77
		ENVIRONMENT "LATENTD_SOURCE_DIR=${CMAKE_SOURCE_DIR};LATENTD_BUILD_DIR=${CMAKE_BINARY_DIR}")
endforeach()
set_property(TEST e2e_daemon_outages e2e_daemon_stop e2e_daemon_steering e2e_kill e2e_main_job e2e_urls PROPERTY COST 70)
