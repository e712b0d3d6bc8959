DROP INDEX versions_package_born;
