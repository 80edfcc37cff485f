package actionv1

// The generated files and their record are committed, so that a build needs no protoc. Versions:
// protoc 3.21.12, protoc-gen-go v1.36.12, protoc-gen-go-grpc v1.6.2. Afterwards
// `go test . -update` renews the golden descriptor and the record; the test refuses to renew a
// descriptor that lost or renumbered anything.
//
//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative action.proto
//
// The examples in other languages carry their own, which examples.TestPluginProtocol holds to this one.
//
//go:generate protoc --python_out=../../../../examples/plugin-python action.proto
//go:generate cp action.proto ../../../../examples/plugin-node/action.proto
