// The registry of the CNCF's distribution with images in files. Its own command can keep them in three clouds as well,
// and compiles their clients for minutes.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}
